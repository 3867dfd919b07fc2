"""Prompts of any lengths in one batch: each gets the answer, and the loss, that it would get alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fila_lab.config import resolve_run
from fila_lab.modeling import FilaModel, VisionBatch, build_model
from fila_lab.modeling.generation import greedy
from fila_lab.modeling.language import text_ids
from fila_lab.modeling.model import IGNORED

ARCHITECTURES = {"llama": {}, "qwen2": {"architecture": "qwen2", "kv_heads": 2}}
WIDTH, LIMIT = 32, 7


def sharp_model(make_config, architecture: str, attention: str = "math") -> FilaModel:
    """Random weights whose answers differ from prompt to prompt."""
    config = make_config("none", language=ARCHITECTURES[architecture])
    model = build_model(config.model_copy(update={"runtime": config.runtime.model_copy(update={"attention": attention})})).eval()
    with torch.no_grad():
        for parameter in model.language.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return model


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts [B, L, D] of random lengths [B], noise behind each."""
    draw = torch.Generator().manual_seed(seed)
    rows = int(torch.randint(2, 7, (1,), generator=draw))
    lengths = torch.randint(1, 24, (rows,), generator=draw)
    return torch.randn(rows, 24, WIDTH, generator=draw), lengths


@pytest.mark.parametrize("batches", [2, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("attention", ["math", "flash"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.inference_mode()
def test_an_answer_does_not_depend_on_what_stands_beside_it(architecture: str, attention: str, batches: int, make_config) -> None:
    model = sharp_model(make_config, architecture, attention)
    for seed in range(batches):
        prompts, lengths = drawn(seed)
        free = greedy(model.reader, prompts, lengths, [], LIMIT)
        assert [len(ids) for ids in free] == [LIMIT] * len(lengths)
        ends = [free[0][2], free[-1][4]]
        alone = [greedy(model.reader, prompts[[n], :length], lengths[[n]], ends, LIMIT)[0] for n, length in enumerate(lengths)]
        assert alone == [cut(ids, ends) for ids in free]
        order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed))
        assert greedy(model.reader, prompts[order], lengths[order], ends, LIMIT) == [alone[n] for n in order]
        some = order[: len(order) // 2 + 1]
        assert greedy(model.reader, prompts[some], lengths[some], ends, LIMIT) == [alone[n] for n in some]


def cut(ids: list[int], ends: list[int]) -> list[int]:
    """Up to the first end token, which is included."""
    return next((ids[: n + 1] for n, token in enumerate(ids) if token in ends), ids)


@torch.inference_mode()
def test_no_token_and_no_position_is_left(make_config) -> None:
    model = sharp_model(make_config, "llama")
    prompts, lengths = drawn(0)
    assert greedy(model.reader, prompts, lengths, [], 0) == [[]] * len(lengths)
    model.language.config.max_position_embeddings = int(lengths.max())
    answers = greedy(model.reader, prompts, lengths, [], LIMIT)
    assert [len(ids) for ids in answers] == (int(lengths.max()) + 1 - lengths).clamp(max=LIMIT).tolist()


def questions(model: FilaModel, batch: VisionBatch, texts: list[str]) -> VisionBatch:
    """The batch with these prompts."""
    ids = text_ids(model.tokenizer, texts)
    longest = max(map(len, ids))
    padded = torch.tensor([[*own, *[0] * (longest - len(own))] for own in ids])
    return replace(batch, input_ids=padded, prompt_lengths=torch.tensor([len(own) for own in ids]))


@torch.inference_mode()
def test_shipped_weights_in_bfloat16_choose_the_same_tokens_unless_they_tie(make_batch) -> None:
    model = build_model(resolve_run("mini"), detail_branch=False).eval()
    texts = ["red?", "Q7?", "how many cells?", "left of the green ball?"]
    visual = torch.randn(len(texts), 21, 96, generator=torch.Generator().manual_seed(0))
    batch = questions(model, make_batch(images=len(texts))[0], texts)
    lengths = visual.shape[1] + batch.prompt_lengths
    compared = 0
    with torch.autocast("cpu", torch.bfloat16):
        prompts = torch.cat([visual, model.reader.embed(batch.input_ids)], dim=1)
        logits, read = model.reader.first_token(prompts, lengths)
        alone = [model.reader.first_token(prompts[[n], :length], lengths[[n]]) for n, length in enumerate(lengths)]
        for _ in range(4):
            own = torch.cat([each for each, _ in alone])
            best = own.topk(2).values
            clear = best[:, 0] - best[:, 1] > 2**-6 * own.abs().amax(1)
            assert torch.equal(logits.argmax(1)[clear], own.argmax(1)[clear])
            compared += int(clear.sum())
            said = own.argmax(1)
            logits, read = model.reader.next_token(said, read)
            alone = [model.reader.next_token(said[[n]], mine) for n, (_, mine) in enumerate(alone)]
    assert compared > 8


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_of_padded_rows_is_that_of_each_alone(architecture: str, make_config, make_batch) -> None:
    model = sharp_model(make_config, architecture)
    batch, labels = make_batch(images=5, length=12)
    lengths = torch.tensor([12, 5, 9, 6, 12])
    labels = labels.masked_fill(torch.arange(12) >= lengths[:, None], IGNORED)
    with torch.no_grad():
        together = model(batch, labels)
        visual = model.see(batch)
        alone = [
            model.text_logits(visual[[n]], batch.input_ids[[n], :length], labels[[n], :length] != IGNORED)
            for n, length in enumerate(lengths)
        ]
    torch.testing.assert_close(together.logits, torch.cat(alone), rtol=1e-5, atol=1e-5)
    targets = labels[labels != IGNORED]
    torch.testing.assert_close(together.loss, torch.nn.functional.cross_entropy(torch.cat(alone), targets))

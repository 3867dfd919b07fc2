"""FilaModel: arms that share what they should, loss, generation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fila_lab.config.base import FilaError
from fila_lab.config.seam_words import WORDS
from fila_lab.modeling import FilaModel, build_model
from fila_lab.modeling.language import character_tokenizer, word_tokenizer

ARMS = [
    {"name": "concat"},
    {"name": "concat_ungated"},
    {"name": "addition"},
    {"name": "addition_gated"},
    {"name": "cross_attention"},
    {"name": "concat", "aggregate": "unfold"},
    {"name": "concat", "depth": "last"},
    {"name": "cross_attention_tile"},
    {"name": "cross_attention_neighbours"},
    {"name": "llava_hr"},
    {"name": "mini_gemini", "depth": "after"},
    {"name": "bidirectional"},
    {"name": "cross_tile"},
    *(
        {"name": "concat", "control": c}
        for c in ("foreign", "shifted", "constant", "random_weights", "random_window", "blank", "oracle_map")
    ),
]


@pytest.fixture(scope="module")
def none(make_config) -> FilaModel:
    """The baseline of seed 3. Read only."""
    return build_model(make_config("none", seed=3))


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: "-".join(arm.values()))
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_step_0_is_bit_identical_to_none_and_shared_weights_are_equal(make_config, make_batch, none: FilaModel, arm, precision) -> None:
    batch, labels = make_batch()
    models = [none, build_model(make_config(**arm, seed=3))]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        outputs = [model(batch, labels) for model in models]
    assert torch.equal(outputs[0].logits, outputs[1].logits)
    assert torch.equal(outputs[0].loss, outputs[1].loss)
    own = dict(models[1].named_parameters())
    for name, parameter in models[0].named_parameters():
        assert torch.equal(parameter, own[name]), name
    extra = {name for name in own if name not in dict(models[0].named_parameters())}
    assert {n.split(".")[1] for n in extra} <= {"fusions", "convnext"}


def test_only_what_the_configuration_says_trains_and_seeds_differ(make_config) -> None:
    model = build_model(make_config(seed=1))
    assert {
        n.split(".")[0] if not n.startswith("encoder") else n.split(".")[1] for n, p in model.named_parameters() if p.requires_grad
    } == {
        "fusions",
        "projector",
        "separator",
        "language",
    }
    other = build_model(make_config(seed=2))
    assert not torch.equal(model.projector[0].weight, other.projector[0].weight)
    assert torch.equal(model.encoder.vit.trunk.conv1.weight, other.encoder.vit.trunk.conv1.weight)


def test_loss_is_the_mean_over_answer_tokens_at_their_own_positions(make_config, make_batch) -> None:
    batch, labels = make_batch()
    model = build_model(make_config("none"))
    out, everywhere = model(batch, labels), model(batch)
    wanted = labels != -100
    assert everywhere.logits.shape == (3, 7, len(model.tokenizer))
    # the logits of an answer token stand one position before it
    assert torch.allclose(out.logits, everywhere.logits[:, :-1][wanted[:, 1:]], atol=1e-5)
    oracle = torch.nn.functional.cross_entropy(everywhere.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    torch.testing.assert_close(out.loss, oracle)


def test_right_padding_changes_nothing(make_config, make_batch) -> None:
    batch, labels = make_batch()
    model = build_model(make_config("none"))
    padded = replace(batch, input_ids=torch.nn.functional.pad(batch.input_ids, (0, 4), value=0))
    out = model(padded, torch.nn.functional.pad(labels, (0, 4), value=-100))
    torch.testing.assert_close(out.logits, model(batch, labels).logits)


def test_generation_equals_teacher_forcing(make_config, make_batch) -> None:
    """Feed back what was generated: at each position the argmax must be the token that was generated there."""
    torch.manual_seed(0)
    batch, _ = make_batch(images=5)
    model = build_model(make_config("concat"))
    with torch.no_grad():  # sharper logits, so that answers differ and some may end
        model.language.lm_head.weight.mul_(20)
    answers = model.generate(batch, max_new_tokens=6)
    assert len(set(answers)) > 1
    for index, answer in enumerate(answers):
        ids = model.tokenizer(answer, add_special_tokens=False)["input_ids"]
        length = int(batch.prompt_lengths[index])
        one = replace(
            batch,
            tiles=batch.tiles[[index]],
            overview=batch.overview[[index]],
            maps=[m[[index]] for m in batch.maps],
            input_ids=torch.tensor([batch.input_ids[index, :length].tolist() + ids]),
            prompt_lengths=batch.prompt_lengths[[index]],
        )
        with torch.no_grad():
            greedy = model(one).logits[0, length - 1 :].argmax(-1).tolist()
        assert greedy[: len(ids)] == ids
        if len(ids) < 6:
            assert greedy[len(ids)] in model.tokenizer.all_special_ids


class Script(torch.nn.Module):
    """A head that says A to everyone, and the end to the first of each group from the second token on."""

    def __init__(self, letter: int, end: int) -> None:
        super().__init__()
        self.letter, self.end, self.calls = letter, end, 0

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(hidden), 98)
        logits[:, self.letter] = 1
        logits[0, self.end] = 2.0 * (self.calls > 0)
        self.calls += 1
        return logits


def test_each_answer_stops_at_its_own_end_token(make_config, make_batch) -> None:
    batch, _ = make_batch(images=2)
    batch = replace(batch, prompt_lengths=torch.tensor([3, 3]))
    model = build_model(make_config("none"))
    model.language.lm_head = Script(*model.tokenizer.convert_tokens_to_ids(["A", "<eos>"]))
    assert model.generate(batch, max_new_tokens=4) == ["A", "AAAA"]


def test_training_lowers_the_loss_and_moves_the_fusion(make_config, make_batch) -> None:
    batch, labels = make_batch()
    model = build_model(make_config("cross_attention"))
    optimiser = torch.optim.AdamW(model.trainable_parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = model(batch, labels).loss
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.5
    assert all(p.any() for p in model.fusion_parameters())


def test_characters_survive_the_tokenizer() -> None:
    tokenizer = character_tokenizer()
    text = "".join(map(chr, range(32, 127))) + "\n  Q: which code?"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([*ids, tokenizer.eos_token_id, tokenizer.pad_token_id], skip_special_tokens=True) == text
    assert tokenizer("é", add_special_tokens=False)["input_ids"] == [tokenizer.unk_token_id]


def test_words_are_one_token_where_they_stand_alone_and_nothing_is_lost() -> None:
    tokenizer = word_tokenizer()
    for text in (" ".join(WORDS), "mark on red?", "reduce the RED bar?", "field tax?"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == text
    assert len(tokenizer(" ".join(WORDS))["input_ids"]) == 2 * len(WORDS) - 1
    assert len(tokenizer("reduce")["input_ids"]) == len("reduce")


def test_the_shipped_answer_model_finds_its_words_at_the_ids_it_was_trained_with() -> None:
    ids = {"red": 99, "ball": 107, "left": 115, "yes": 126, "no": 127, "field": 128, "layout": 135, "age": 136, "zip": 154}
    assert dict(zip(ids, word_tokenizer().convert_tokens_to_ids(list(ids)), strict=True)) == ids


def test_what_is_missing_is_named(make_config, make_batch, tmp_path) -> None:
    batch, _ = make_batch()
    with pytest.raises(FilaError, match="neither cached maps nor a detail input"):
        build_model(make_config())(replace(batch, maps=None))
    with pytest.raises(FilaError, match="no truth maps"):
        build_model(make_config(control="oracle_map"))(replace(batch, oracle=None))
    with pytest.raises(FilaError, match=r"language\.tokenizer"):
        build_model(make_config(language={"tokenizer": str(tmp_path)}))
    with pytest.raises(FilaError, match=r"language\.weights"):
        build_model(make_config(language={"weights": str(tmp_path)}))


def test_a_saved_language_model_is_loaded(make_config, make_batch, tmp_path) -> None:
    batch, _ = make_batch()
    first = build_model(make_config("none", seed=5))
    first.language.save_pretrained(tmp_path)
    first.tokenizer.save_pretrained(tmp_path)
    settings = {"weights": str(tmp_path), "tokenizer": str(tmp_path), "trainable": False}
    second = build_model(make_config("none", seed=5, language=settings))
    assert torch.equal(first(batch).logits, second(batch).logits)
    assert not any(p.requires_grad for p in second.language.parameters())


def test_qwen2_is_built_too(make_config, make_batch) -> None:
    batch, labels = make_batch()
    model = build_model(make_config("addition", language={"architecture": "qwen2", "kv_heads": 2}))
    assert type(model.language).__name__ == "Qwen2ForCausalLM"
    assert model(batch, labels).loss.isfinite()
    assert len(model.generate(batch, max_new_tokens=2)) == 3

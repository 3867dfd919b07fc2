"""What a trained cell's fusion does: where it acts, whether tokens find their own cells, which fusion point carries the gain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from fila_lab.config import FilaError, RunConfig
from fila_lab.config.data import CENTRE
from fila_lab.config.suites import SEAM
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.data import BucketBatches, Pool, StoredPool, draw_seed_items
from fila_lab.data.seam import SeamSuite
from fila_lab.evaluation.alignment import MapFit, retrieval
from fila_lab.evaluation.positions import token_positions
from fila_lab.modeling import FilaModel, HybridEncoder, VisionBatch, random_convnext
from fila_lab.modeling.detail import DetailMaps
from fila_lab.modeling.fusion.factorised import FactorisedFusion
from fila_lab.modeling.precision import autocast
from fila_lab.training.batches import Collator
from fila_lab.training.cell import run_cell
from fila_lab.training.data import VAL, open_data
from fila_lab.training.features import cacheable, cached_features, frozen_maps, needs_detail
from fila_lab.training.injection import FusionPoint, changed
from fila_lab.training.record import Progress
from fila_lab.training.trained import load_trained

NOTHING, EVERYTHING = "nothing", "everything"
"""What is switched off: no fusion point, or all of them."""
ITEM = ["item_id", "task", "place", "image_id", "canvas"]
Watch = Callable[[FusionPoint, Tensor, Tensor, Tensor | None], None]
"""Told of a fusion point: which, tokens [N, 1 + g*g, D] before and after, each token's mean cell [N, C, g, g] (None: it reads no map)."""


def probe_cell(cell: Path, cache_dir: Path, items: int = 400, progress: Progress | None = None) -> dict[str, pd.DataFrame]:
    """Frames `tokens` (where fusion acts), `alignment` (does a token find its own cells), `attribution` (what switching off costs) and
    `positions` (where on the canvas the targets of right and wrong answers lay).

    Tokens and alignment come from the first `items` validation items that the cell's seed draws, the others from the first `items` test
    triplets. FilaError where the cell has no trained parts or no fusion point, reads truth maps, or has other tiles than one grid side by
    side.
    """
    model = load_trained(cell).eval()
    config = model.config
    if not model.encoder.fusion_points or config.fusion.control == "oracle_map":
        why = "it reads truth maps" if model.encoder.fusion_points else "it has no fusion to look at"
        raise FilaError(f"cell {cell}: {why}; choose a cell of another arm")
    tiling = config.geometry.tiling
    if tiling.overlap or not tiling.one_grid:
        field = "overlap" if tiling.overlap else "perspective" if tiling.second is None else "second"
        raise FilaError(
            f"cell {cell}: geometry.tiling.{field} is set, and a probe places tokens by one grid of tiles side by side; choose a cell "
            "without"
        )
    torch.set_num_threads(config.runtime.threads)
    pools = {name: pool for name, pool in open_data(config, cache_dir, ("val", "test"), progress=progress).items() if name in (VAL, SEAM)}
    if SEAM not in pools or not isinstance(pools[VAL], StoredPool):
        raise FilaError(f"cell {cell}: a probe asks what stands where, which only items of the seam suite know; choose a cell tested on it")
    collators = {name: _collator(model, pool, cache_dir, progress) for name, pool in pools.items()}
    drawn = draw_seed_items(pools[VAL], config.seed, min(items, config.data.val_items or len(pools[VAL])), "val_items")
    tests = np.flatnonzero(pools[SEAM].meta["index"].to_numpy() < items)
    tokens, alignment = look(model, collators[VAL], drawn)
    answers = switch_off(model, collators[SEAM], tests, progress)
    return {"tokens": tokens, "alignment": alignment, "attribution": answers, "positions": target_centres(config, answers)}


def trained_cell(config: RunConfig, folder: Path, cache_dir: Path, progress: Progress | None = None) -> Path:
    """A folder with this run's trained parts: `folder` itself, trained now unless they are there. FilaError where training fails."""
    path = folder / TRAINED_PARTS
    if not path.is_file() or load_trained(folder).config != config:
        outcome = run_cell(config, workdir=folder / "work", cache_dir=cache_dir, progress=progress, test=False, checkpoint=path)
        failure = outcome.result["failure"]
        if failure is not None:
            raise FilaError(f"the cell to look at could not be trained ({failure['kind']}): {failure['message']}")
    return folder


def look(model: FilaModel, collator: Collator, rows: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(tokens, alignment) of some rows of a pool: one row a token of the canvas and fusion point.

    tokens: token_norm, change_norm, injection (their ratio) and gate (mean over channels of a sigmoid gate; NaN without one).
    alignment: whether a token `before` or `after` a fusion point finds its own cells, those the fusion was handed (`trained`, control
    included) or those of a random ConvNeXt in the right places (`random`); the map is fitted on the first half of the rows.
    """
    tokens, found = [], []
    fits: dict[tuple[FusionPoint, str, str], MapFit] = defaultdict(MapFit)
    half = len(rows) // 2
    for pair, before, after, gate, cells, places in _pages(model, collator, rows[:half]):
        tokens.append(_acting(pair, before, after, gate, places))
        for (moment, features), (states, own) in _sides(before, after, cells).items():
            fits[pair, moment, features].add(states, own)
    maps = {key: fit.fitted() for key, fit in fits.items()}
    for pair, before, after, gate, cells, places in _pages(model, collator, rows[half:]):
        tokens.append(_acting(pair, before, after, gate, places))
        for (moment, features), (states, own) in _sides(before, after, cells).items():
            hits = retrieval(maps[pair, moment, features], states, own)
            shown = places.assign(stage=pair[0], layer=pair[1], tokens=moment, features=features)
            found.append(pd.concat([shown, hits], axis=1))
    return pd.concat(tokens, ignore_index=True), pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def switch_off(model: FilaModel, collator: Collator, rows: np.ndarray, progress: Progress | None = None) -> pd.DataFrame:
    """One row an item and switch: off (`nothing`, `1->2` for stage 1 after layer 2, ..., `everything`) and whether the answer was right.

    `everything` is not the arm `none`: the rest of this model has been trained with its fusion.
    """
    pairs, prompt = model.encoder.fusion_points, collator.texts.prompt
    switches: dict[str, Collection[FusionPoint]] = {NOTHING: ()} | {f"{s}->{layer}": ((s, layer),) for s, layer in pairs}
    frames = []
    for number, (off, silent) in enumerate((switches | {EVERYTHING: pairs}).items()):
        for batch in BucketBatches(collator.pool.canvases.tolist(), rows, model.config.train.eval_batch_size, None):
            made = collator(batch, training=False)
            if made.vision is None:
                continue
            with watched(model.encoder, off=silent), autocast(model.config.runtime.precision):
                given = model.answer(made.vision, model.config.language.answer_tokens, prompt.ends)
            right = [prompt.said(answer.text) in accepted for answer, accepted in zip(given, made.answers, strict=True)]
            frames.append(collator.pool.describe(np.array(made.rows))[ITEM].assign(off=off, correct=right))
        if progress:
            progress("switching off", number + 1, len(switches) + 1)
    return pd.concat(frames, ignore_index=True)


def target_centres(config: RunConfig, answers: pd.DataFrame) -> pd.DataFrame:
    """The answers of the whole model among those of `switch_off`, with where on the pages' own canvas the middle of each target lies, and
    that canvas's tile and patch, px."""
    suite = SeamSuite(config.data.seam, config.geometry)
    own = answers[answers["off"] == NOTHING].drop(columns="off").reset_index(drop=True)
    centres: dict[str, dict[str, tuple[float, float]]] = {}
    for item in map(str, own["item_id"].unique()):
        split, _, index = item.split("-")
        centres[item] = suite.centres(split, int(index))
    places = [centres[str(item)][str(place)] for item, place in zip(own["item_id"], own["place"], strict=True)]
    sizes = {"tile_px": config.geometry.tile, "patch_px": config.geometry.patch}
    return pd.concat([own, pd.DataFrame(places, columns=list(CENTRE))], axis=1).assign(**sizes)


@contextmanager
def watched(encoder: HybridEncoder, watch: Watch | None = None, off: Collection[FusionPoint] = ()) -> Iterator[None]:
    """Inside, fusion points in `off` leave tokens as they are, and `watch` is told of every other."""

    def hook(point: FusionPoint, tokens: Tensor, details: DetailMaps, fuse: Callable[[], Tensor]) -> Tensor:
        if point in off:
            return tokens
        own = details.means(point[0]) if watch is not None and needs_detail(encoder.config) else None
        after = fuse()
        if watch is not None:
            watch(point, tokens, after, own)
        return after

    with encoder.around_fusion(hook):
        yield


Seen = tuple[FusionPoint, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]
"""A fusion point on B pages of one canvas, the overview left out: tokens before and after [B, n, g*g, D], gate [B, n, g*g], own cells
[B, n, g*g, C]."""
Cells = dict[str, np.ndarray]
"""Own cells [B, n, g*g, C] by whose features they are."""


def _pages(
    model: FilaModel, collator: Collator, rows: np.ndarray
) -> Iterator[tuple[FusionPoint, np.ndarray, np.ndarray, np.ndarray | None, Cells, pd.DataFrame]]:
    """Batch by batch and fusion point by fusion point: tokens before and after, gate, cells, and a frame of the places, one row a token."""
    suite = SeamSuite(model.config.data.seam, model.config.geometry)
    for batch in BucketBatches(collator.pool.canvases.tolist(), rows, model.config.train.eval_batch_size, None):
        places = pd.concat([_places(suite, collator.pool, row) for row in batch], ignore_index=True)
        vision = collator(batch, training=False).vision
        assert vision is not None
        random = _random_cells(model, collator.pool, batch, vision)
        for pair, before, after, gate, own in _seen(model, vision):
            cells = {} if own is None else {"trained": own, "random": random[pair]}
            yield pair, before, after, gate, cells, places


def _sides(before: np.ndarray, after: np.ndarray, cells: Cells) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """(moment, features) -> tokens and the cells they are to find."""
    moments = {"before": before, "after": after}
    return {(moment, kind): (states, own) for moment, states in moments.items() for kind, own in cells.items()}


def _seen(model: FilaModel, vision: VisionBatch) -> list[Seen]:
    """Every fusion point on a batch of pages, in the order of the layers."""
    found: list[Seen] = []
    gates: list[Tensor] = []

    def watch(pair: FusionPoint, before: Tensor, after: Tensor, own: Tensor | None) -> None:
        cells = None if own is None else _by_page(own.flatten(2).transpose(1, 2), len(vision))
        gate = _by_page(gates.pop().float().sigmoid().mean(-1), len(vision)) if gates else None
        found.append((pair, _by_page(before[:, 1:], len(vision)), _by_page(after[:, 1:], len(vision)), gate, cells))

    hooks = [
        part.gate.register_forward_hook(lambda _, __, logits: gates.append(logits))
        for part in model.encoder.fusions.values()
        if isinstance(part, FactorisedFusion) and isinstance(part.gate, nn.Linear)
    ]
    try:
        with watched(model.encoder, watch), autocast(model.config.runtime.precision), torch.inference_mode():
            model.see(vision)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _random_cells(model: FilaModel, pool: Pool, batch: np.ndarray, vision: VisionBatch) -> dict[FusionPoint, np.ndarray]:
    """The same pages' cells as a random ConvNeXt makes them, in the right places: the baseline of the retrieval score."""
    config, encoder = model.config, model.encoder
    if not needs_detail(config):
        return {}
    detail = pool.pixels(batch, detail=True).detail
    assert detail is not None
    tower = random_convnext(config.convnext).eval()
    with autocast(config.runtime.precision):
        maps = frozen_maps(tower, torch.from_numpy(detail), config, vision.rows, vision.cols)
    details = DetailMaps(maps, encoder.cells, vision.layout, config.fusion.resample)
    return {pair: _by_page(details.means(pair[0]).flatten(2).transpose(1, 2), len(vision)) for pair in encoder.fusion_points}


def _by_page(values: Tensor, pages: int) -> np.ndarray:
    """[N, ...] of all tiles -> float64 [B, n, ...] without the overview."""
    return values.detach().double().unflatten(0, (pages, -1))[:, 1:].numpy()


def _places(suite: SeamSuite, pool: Pool, row: int) -> pd.DataFrame:
    """One page's tokens: the item's columns and k, where each token lies and what it shows."""
    meta = pool.meta.iloc[row]
    item = suite.item(pool.split, int(meta["index"]), str(meta["place"]))
    geometry = pool.bucket([row]).geometry
    assert geometry is not None
    places = token_positions(item, geometry)
    return places.assign(k=suite.geometry.cells_a_side, **{name: meta[name] for name in ITEM})[[*ITEM, "k", *places.columns]]


def _acting(pair: FusionPoint, before: np.ndarray, after: np.ndarray, gate: np.ndarray | None, places: pd.DataFrame) -> pd.DataFrame:
    """How much a fusion point changes each token."""
    opened = np.nan if gate is None else gate.ravel()
    measured = {name: values.ravel() for name, values in changed(before, after)._asdict().items()}
    return places.assign(stage=pair[0], layer=pair[1], **measured, gate=opened)


def _collator(model: FilaModel, pool: Pool, cache_dir: Path, progress: Progress | None) -> Collator:
    if not (isinstance(pool, StoredPool) and cacheable(model.config)):
        return Collator(model.config, pool, None, model.tokenizer)
    features = cached_features(model.config, pool, cache_dir, progress=progress)
    return Collator(model.config, pool, features, model.tokenizer)

"""Tower pairs: a ViT and a ConvNeXt pretrained together, of which a preset or study may name several; seed s starts from pair s mod n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from fila_lab.config.base import ConfigError, Strict

FIELD = "tower_pairs"
ROOMS: tuple[str, ...] = ("vit", "convnext", "language")
"""Parts of a run that a pair may name weights for."""


class TowerPair(Strict):
    """The weights of one pair, as `vit.weights` and `convnext.weights` take them; and of the answer model that was pretrained behind its
    ViT, where pairs have one each."""

    vit: str = Field(description="weights of the ViT, as `vit.weights` takes them")
    convnext: str = Field(description="weights of the ConvNeXt, as `convnext.weights` takes them")
    language: str | None = Field(default=None, description="weights of the pair's own answer model; null: the run's `language.weights`")


Pairs = tuple[TowerPair, ...]
_PAIRS = TypeAdapter(Pairs)


def pair_of(seed: int, pairs: Sequence[TowerPair]) -> int | None:
    """Which of the pairs a seed starts from; None where there are none."""
    return seed % len(pairs) if pairs else None


def pair_weights(pair: TowerPair) -> dict[str, str]:
    """Room -> weights."""
    return {room: weights for room in ROOMS if (weights := getattr(pair, room)) is not None}


def check_pairs(pairs: Pairs) -> None:
    """Refuse pairs of which only some have an answer model of their own, and one that stands there twice.

    Raises:
        ValueError: with a remedy.
    """
    if len({pair.language is None for pair in pairs}) > 1:
        raise ValueError("language stands in some pairs only; give each pair its answer model, or leave it to language.weights")
    if (twice := next((number for number, pair in enumerate(pairs) if pair in pairs[:number]), None)) is not None:
        raise ValueError(f"pair {twice} is pair {pairs.index(pairs[twice])} again; name each pair once")


def paired_layer(layers: Sequence[Mapping[str, Any]], seed: Any) -> tuple[int, dict[str, Any]] | None:
    """What pairs come to in layers of overrides, lowest first, for a run with a seed.

    The pairs of the highest layer that names them count. Weights that layers below it name give way; those that layers above it name, an
    arm's or `--set`'s, are every pair's. Where they replace all that pairs name, there are no pairs.

    Args:
        layers: flat, dotted path -> value.
        seed: what the layers say of it; something else than a seed is left for the run's own check.

    Returns:
        Number of the layer on which they are to be laid, and dotted path -> value; None where no pairs count.

    Raises:
        ConfigError: pairs beside weights in one layer; or above them the weights of one of several pairs.
    """
    at = max((number for number, layer in enumerate(layers) if FIELD in layer), default=None)
    if at is None or not isinstance(seed, int):
        return None
    try:
        pairs = _PAIRS.validate_python(layers[at][FIELD])
        check_pairs(pairs)
    except (ValidationError, ValueError):
        return None  # the run's own check says what is wrong, by its path
    if not pairs:
        return None
    named = list(pair_weights(pairs[0]))
    for room in named:
        if f"{room}.weights" in layers[at]:
            raise ConfigError(
                f"{FIELD} and {room}.weights = {layers[at][f'{room}.weights']!r} stand side by side, and one would be lost; leave one out"
            )
    said = {room: [layer[f"{room}.weights"] for layer in layers[at + 1 :] if f"{room}.weights" in layer] for room in named}
    above = {room: weights[-1] for room, weights in said.items() if weights and isinstance(weights[-1], str)}
    for room, weights in above.items() if len(above) < len(named) else ():
        _check_override(room, weights, pairs)
    chosen = pair_weights(pairs[seed % len(pairs)]) | above
    pairs = tuple(pair.model_copy(update=above) for pair in pairs) if len(above) < len(named) else ()
    laid = {FIELD: [pair.model_dump(exclude_none=True) for pair in pairs]}
    return at, laid | {f"{room}.weights": weights for room, weights in chosen.items()}


def _check_override(room: str, weights: str, pairs: Pairs) -> None:
    """One pair's part for all seeds would stand beside the other parts of other pairs."""
    own = [getattr(pair, room) for pair in pairs]
    if weights in own and len(set(own)) > 1:
        number = own.index(weights)
        alone = pairs[number].model_dump(exclude_none=True)
        raise ConfigError(
            f"{room}.weights = {weights!r} is that of pair {number} of {FIELD}, and would stand beside the other pairs' parts; to run this "
            f"pair alone set {FIELD}=[{{{', '.join(f'{key}: {value}' for key, value in alone.items())}}}], or name weights of no pair"
        )

"""Matched arms: the hidden width, or the ViT's scale, with which an arm comes nearest to a number of parameters or FLOPs. Torch-free."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from fila_lab.config.base import ConfigError
from fila_lab.config.fusion_points import resolve_fusion_points
from fila_lab.config.run import RunConfig
from fila_lab.config.strategies import FACTORS, WHOLE, has_heads, known_cost
from fila_lab.config.study import Quantity
from fila_lab.cost.closed.fusion import window_cells
from fila_lab.cost.closed.pages import page_costs

HIDDEN, SCALE = "fusion.hidden", "geometry.vit_scale"
MAX_HIDDEN = 65536
"""Largest hidden width that is tried."""


@dataclass(frozen=True)
class Solution:
    """The value of `path` nearest to a target. wanted, reached: of the whole model; part: what of `wanted` the path has to fill, which is
    all that the arm without a fusion (or with the ViT's plain tiles) lacks."""

    quantity: Quantity
    target: str
    wanted: float
    path: str
    value: int
    reached: float
    part: float

    @property
    def off_whole(self) -> float:
        """Deviation relative to the whole model."""
        return (self.reached - self.wanted) / self.wanted

    @property
    def off_part(self) -> float:
        """Deviation relative to the part: towers, equal on both sides, cannot hide it."""
        return (self.reached - self.wanted) / self.part

    def to_dict(self) -> dict[str, Any]:
        """As `plan.json` keeps it."""
        return {**asdict(self), "off_whole": self.off_whole, "off_part": self.off_part}


def amount(config: RunConfig, quantity: Quantity, without: str = "") -> float:
    """Parameters, or FLOPs a page, of the whole model; `without` leaves one part out.

    Raises:
        ConfigError: no closed form counts the fusion.
    """
    require_known_cost(config)
    return sum(float(getattr(cost, quantity)) for part, cost in page_costs(config).items() if part != without)


def require_known_cost(config: RunConfig) -> None:
    """Refuse a fusion that no closed form counts.

    Raises:
        ConfigError: the fusion is another package's.
    """
    if not known_cost(config.fusion):
        raise ConfigError(
            f"no closed form counts fusion.name = {config.fusion.name!r}, so nothing can be matched or equalised by it; "
            f"use equalise: steps or time and no `match`, or choose {', '.join((*FACTORS, *WHOLE))}"
        )


def dial(config: RunConfig) -> str:
    """Path of the field that matching solves: the hidden width; without a fusion, the ViT's scale."""
    return SCALE if config.fusion.name == "none" else HIDDEN


def solve(config: RunConfig, quantity: Quantity, wanted: float, target: str, tolerance: float) -> tuple[RunConfig, Solution]:
    """The run with `dial(config)` set to the feasible value nearest to `wanted`, and how near that is.

    target: what the message calls it. tolerance: greatest deviation allowed, relative to the part.
    Raises ConfigError where nothing can be solved, or the nearest value is too far off.
    """
    field, path = f"match.{quantity} = {target}", dial(config)
    if path == SCALE and quantity == "parameters":
        raise ConfigError(f"{field}: fusion.name = 'none' has no hidden width; match flops (by more tiles), or set a fusion")
    if path == SCALE and config.fusion.handoff != "none":
        raise ConfigError(
            f"{field}: fusion.name = 'none' has no hidden width, and with fusion.handoff = {config.fusion.handoff!r} "
            "the ViT's scale cannot take the detail branch's place; set a fusion, or handoff none"
        )
    if path == SCALE and config.geometry.tiling.second is not None:
        raise ConfigError(
            f"{field}: fusion.name = 'none' has no hidden width, and with geometry.tiling.second the ViT's scale cannot add tiles too; "
            "set a fusion, or no second grid"
        )
    if path == HIDDEN and config.fusion.name not in (*FACTORS, *WHOLE):
        raise ConfigError(
            f"{field}: no closed form counts fusion.name = {config.fusion.name!r}; set {HIDDEN}, or match {', '.join((*FACTORS, *WHOLE))}"
        )
    if config.fusion.name == "mini_gemini" and not _asks(config):
        raise ConfigError(
            f"{field}: the windows of fusion.name = 'mini_gemini' have one cell each at fusion.depth = {config.fusion.depth!r}, "
            "and its values no hidden width; choose a finer stage (a lower first number in fusion.depth)"
        )
    if config.fusion.options.get("parts") == "local" and path == HIDDEN:
        raise ConfigError(
            f"{field}: fusion.name = {config.fusion.name!r} without its attention has no hidden width; leave fusion.options.parts out"
        )
    values = _values(config)
    if not values:
        page = 32 * config.data.seam.page_scale
        raise ConfigError(
            f"{field}: a page has {page} px for a patch of {config.geometry.patch} px, too few to enlarge it; raise data.seam.page_scale"
        )

    def reach(value: int) -> float:
        return amount(with_value(config, value), quantity)

    part = wanted - (amount(config, quantity, without="fusion") if path == HIDDEN else reach(1))
    if part <= 0:
        raise ConfigError(
            f"{field}: wanted are {wanted:,.0f}, but the arm has {wanted - part:,.0f} {quantity} without what {path} adds; "
            "choose a larger target"
        )
    value = nearest(reach, wanted, values)
    solution = Solution(quantity, target, wanted, path, value, reach(value), part)
    if abs(solution.off_part) > tolerance:
        raise ConfigError(
            f"{field} ({wanted:,.0f}): the nearest feasible value, {path} = {value}, reaches {solution.reached:,.0f}; "
            f"that is {solution.off_part:+.1%} of the {part:,.0f} it has to fill, beyond match.tolerance = {tolerance:g}; "
            f"choose another target, or accept it with match.tolerance: {math.ceil(abs(solution.off_part) * 100) / 100:g}"
        )
    return with_value(config, value), solution


def nearest(reach: Callable[[int], float], wanted: float, values: range) -> int:
    """The value at which the increasing function `reach` is nearest to `wanted`; ties to the smaller."""
    above = bisect.bisect_left(values, wanted, hi=len(values) - 1, key=reach)
    return min(values[max(0, above - 1) : above + 1], key=lambda value: abs(reach(value) - wanted))


def with_value(config: RunConfig, value: int) -> RunConfig:
    """The run with its dial set to a value."""
    if dial(config) == SCALE:
        return config.model_copy(update={"geometry": config.geometry.model_copy(update={"vit_scale": value})})
    return config.model_copy(update={"fusion": config.fusion.model_copy(update={"hidden": value})})


def _asks(config: RunConfig) -> bool:
    """Whether any fusion point has windows of several cells, so that queries and keys exist."""
    pairs = resolve_fusion_points(config.fusion.depth, config.vit.layers, config.vit.feature_layer)
    return any(window_cells(config.geometry, stage) > 1 for stage, _ in pairs)


def _values(config: RunConfig) -> range:
    """Feasible values of the dial: widths that the heads divide, where something attends; scales up to a page's own resolution."""
    if dial(config) == SCALE:
        return range(2, 32 * config.data.seam.page_scale // config.geometry.patch + 1)
    step = config.fusion.heads if has_heads(config.fusion) else 1
    return range(step, MAX_HIDDEN + 1, step)

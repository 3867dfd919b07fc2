"""Dense labels for tower pretraining: which glyph, in which colour, sits in each small cell of a crop.

Image-level labels hardly teach glyphs to small towers; a label per cell does. A glyph cut by the crop's border keeps its
label, at the centre of what is visible, as long as enough of it is: towers must have met truncated glyphs, or the seam gap
would be an artefact of their pretraining.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VISIBLE_SHARE = 0.35
"""A glyph of which less is visible carries no label; its cell is ignored by the loss."""
BACKGROUND_WEIGHT = 0.1
IGNORE = -100


def label_grids(records: Tensor, scale: float, origin: Tensor, size: int, cell: float) -> tuple[Tensor, Tensor]:
    """Class and colour per cell of a square crop.

    Args:
        records: [B, G, 7] (class, colour, x, y, width, height, height from which it can be told), in canvas pixels; class < 0 is padding.
            A glyph lower than that in the crop carries no label.
        scale: crop pixels per canvas pixel.
        origin: [B, 2] crop origin (x, y) in scaled pixels.
        size: crop side, pixels.
        cell: cell side, pixels.

    Returns:
        classes [B, n, n] and colours [B, n, n], n = size / cell: 0 background, 1 + index a glyph, -100 ignored.
    """
    n = round(size / cell)
    centre = records[..., 2:4] * scale - origin[:, None]  # [B, G, 2]
    half = records[..., 4:6] * scale / 2
    low = (centre - half).clamp(0, size)
    high = (centre + half).clamp(0, size)
    extent = (high - low).clamp_min(0)
    visible = extent.prod(-1) / (4 * half.prod(-1)).clamp_min(1e-6)  # [B, G]
    place = ((low + high) / 2 / cell).long().clamp(0, n - 1)
    flat = place[..., 1] * n + place[..., 0]
    present = (records[..., 0] >= 0) & (visible > 0)
    whole = present & (visible >= VISIBLE_SHARE) & (2 * half[..., 1] >= records[..., 6])
    batch = len(records)
    classes = torch.zeros(batch, n * n, dtype=torch.long, device=records.device)
    colours = torch.zeros_like(classes)
    for mask, fill in ((present & ~whole, False), (whole, True)):
        row, glyph = mask.nonzero(as_tuple=True)
        where = flat[row, glyph]
        classes[row, where] = records[row, glyph, 0].long() + 1 if fill else IGNORE
        colours[row, where] = records[row, glyph, 1].long() + 1 if fill else IGNORE
    return classes.view(batch, n, n), colours.view(batch, n, n)


def dense_loss(logits: Tensor, classes: Tensor, colours: Tensor, n_classes: int) -> Tensor:
    """Cross-entropy of class plus half that of colour; logits [B, n_classes + 1 + n_colours + 1, n, n], background down-weighted."""
    logits = logits.float()
    by_class, by_colour = logits[:, : n_classes + 1], logits[:, n_classes + 1 :]
    losses = []
    for part, target in ((by_class, classes), (by_colour, colours)):
        weight = torch.ones(part.shape[1], device=part.device)
        weight[0] = BACKGROUND_WEIGHT
        losses.append(F.cross_entropy(part, target, weight=weight, ignore_index=IGNORE))
    return losses[0] + 0.5 * losses[1]


@torch.no_grad()
def dense_scores(logits: Tensor, classes: Tensor, colours: Tensor, n_classes: int) -> dict[str, float]:
    """Counts for glyph recall (class right at a labelled cell), colour recall and false alarms on background cells."""
    by_class = logits[:, : n_classes + 1].argmax(1)
    by_colour = logits[:, n_classes + 1 :].argmax(1)
    glyph, background = classes > 0, classes == 0
    return {
        "glyphs": float(glyph.sum()),
        "class_right": float((by_class == classes)[glyph].sum()),
        "colour_right": float((by_colour == colours)[glyph].sum()),
        "background": float(background.sum()),
        "false_alarms": float((by_class != 0)[background].sum()),
    }


class TokenHead(nn.Module):
    """Tokens [N, T, D] of a g x g grid to logits [N, C, 2g, 2g]: every token speaks for its four quarter cells."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, 4 * channels)

    def forward(self, tokens: Tensor) -> Tensor:
        n, t, _ = tokens.shape
        side = round(t**0.5)
        return F.pixel_shuffle(self.linear(self.norm(tokens)).transpose(1, 2).reshape(n, -1, side, side), 2)


class MapHead(nn.Module):
    """Stage-3 and stage-4 maps to logits on the stage-3 grid, summed, so that both stages learn to say what is there."""

    def __init__(self, dims: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.stage3 = nn.Sequential(nn.GroupNorm(1, dims[2]), nn.Conv2d(dims[2], channels, 1))
        self.stage4 = nn.Sequential(nn.GroupNorm(1, dims[3]), nn.Conv2d(dims[3], 4 * channels, 1), nn.PixelShuffle(2))

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.stage3(maps[2]) + self.stage4(maps[3])

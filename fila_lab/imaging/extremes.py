"""Images of which a canvas shows hardly anything: what it does to them, in words."""

from __future__ import annotations

from fila_lab.imaging.geometry import Geometry

DISTORTED = 8.0
"""How much more an image may be squeezed along one side than along the other before it is said."""


def hardly_seen(geometry: Geometry) -> str | None:
    """One sentence where a ViT patch is larger than the image, as it is or as the canvas shows it, or where it is out of shape."""
    (width, height), (across, down), patch = geometry.image_size, geometry.resized, geometry.patch
    what = (
        f"the image has {width} x {height} px and is shown at {across} x {down} on a canvas of {geometry.canvas[0]} x {geometry.canvas[1]}"
    )
    scales = geometry.scales
    if max(scales) > DISTORTED * min(scales):
        return f"{what}: out of shape, {max(scales) / min(scales):.0f} times as much along one side as along the other"
    if min(across, down) < patch:
        return f"{what}: less than a patch of {patch} px along a side, so that little in it can be told apart; cut it into parts"
    if min(width, height) < patch and min(scales) > 1:
        return f"{what}: enlarged {min(scales):.3g} times from fewer px than a patch of {patch}, so that there is little to see in it"
    return None

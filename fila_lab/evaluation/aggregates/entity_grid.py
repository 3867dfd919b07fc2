"""EntityGrid's discrepancy between place classes, beside the level."""

from __future__ import annotations

from fila_lab.evaluation.aggregates.base import Scored, levels, register_aggregate

UNCUT, CUT = "corner", ("edge", "centre")


@register_aggregate("entity_grid")
def entity_grid(scored: Scored) -> dict[str, float]:
    """`level`, the mean over place classes; `<score>/where=<class>` of corner (no seam), edge (one) and centre (two); and of the latter two
    `discrepancy/<class>`, the share of the corners' score that is lost there (none where that is 0).

    The papers' own formulas are not public; what is known is that there are two relative numbers. A discrepancy alone rewards a model that
    is wrong everywhere, or guesses (1 of 48 entities, 9 places, 2 counts): it loses nothing at a seam. So the level stands first, and a
    discrepancy is to be read beside it; the plain baseline had the best ones there.

    Columns: where.
    """
    classes = levels(scored.score, scored.need("where"), "score", ("where",))
    of = {name: classes.get(f"{scored.score}/where={name}") for name in (UNCUT, *CUT)}
    known = [value for value in of.values() if value is not None]
    figures = {"level": sum(known) / len(known)} | classes
    whole = of[UNCUT]
    for name in CUT:
        own = of[name]
        if whole and own is not None:
            figures[f"discrepancy/{name}"] = 1 - own / whole
    return figures

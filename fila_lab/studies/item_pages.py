"""The page of one item of a study's folder, drawn anew: results keep what was asked and answered, and no page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from fila_lab.config import FilaError, RunConfig
from fila_lab.config.files import default_cache
from fila_lab.data import Item, UnusableRow
from fila_lab.data.opening import sources
from fila_lab.data.seam.gallery import drawn_items, marked_page
from fila_lab.studies.folder import read_plan
from fila_lab.studies.store import ResultStore

Asked = dict[str, tuple[str | None, str | None]]
"""Place -> question and answer; None where results do not keep them."""


def draw_item(out: Path | str, item_id: str) -> dict[str, Image.Image]:
    """Pictures of an item's page by place ("" of an item without places), of a study that runs, is finished, or was published.

    A page of the seam suite follows from the suite's seed; seams are drawn into it, and the target's box. Images of other suites are read
    from where the study read them, and come as they are. Sizes are the page's own, px.

    Raises:
        FilaError: there is no plan; no cell answered such an item; today's suite asks something else of it; its file cannot be read.

    Example:
        >>> pages = draw_item("experiments/results/remove_fusion", "test-reading-000000")
        >>> list(pages)
        ['cut', 'sham', 'intact']
    """
    root = Path(out)
    plan = read_plan(root)
    cells = [cell for cell in plan["cells"] if cell["phase"] == "main"] if plan is not None else []
    if not cells:
        raise FilaError(f"out={root}: no readable plan with main cells in it; give the folder a study wrote")
    config = RunConfig.model_validate(cells[0]["config"])
    asked = _asked(ResultStore(root), [cell["id"] for cell in cells], item_id)
    if "" not in asked:  # places are the seam suite's
        return _seam_pages(config, item_id, asked)
    item = next((item for item in _listed(config) if item.item_id == item_id), None)
    picture = item.pixels() if item is not None else None
    if picture is None:
        raise FilaError(f"item {item_id!r}: {'has no image' if item is not None else 'is not in the files that the study read, any more'}")
    return {"": picture}


def _seam_pages(config: RunConfig, item_id: str, asked: Asked) -> dict[str, Image.Image]:
    drawn = {item.place: item for item in drawn_items(config, item_id)}
    for place, (question, answer) in asked.items():
        item = drawn.get(place)
        if item is None or question not in (item.question, None) or answer not in (item.answer, None):
            raise FilaError(f"item {item_id!r}: today's suite asks something else than was answered at place {place}, so it has no page")
    return {place: marked_page(item, config) for place, item in drawn.items() if place in asked}


def _asked(store: ResultStore, cells: Iterable[str], item_id: str) -> Asked:
    """What the first cell that answered the item was asked."""
    import pyarrow.compute as pc

    for cell_id in store.outlines(cells):
        table = store.table(cell_id, ("item_id", "place", "question", "answer"))
        own = table.filter(pc.equal(table["item_id"], item_id)).to_pylist() if table is not None else []
        if own:
            return {row.get("place", ""): (row.get("question"), row.get("answer")) for row in own}
    raise FilaError(f"item {item_id!r}: no finished cell of {store.root} answered it; `predictions` lists those that were")


def _listed(config: RunConfig) -> Iterator[Item]:
    """The test items of the suites a run reads; no pixels are read here."""
    for source in sources(config.data, config.geometry, default_cache(), "test"):
        for index in range(source.suite.length(source.split)):
            try:
                yield from source.suite.items(source.split, index)
            except UnusableRow:
                continue

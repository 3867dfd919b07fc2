"""The data card: how items are made, what they can and cannot show, and where their parts come from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from fila_lab.config.data import SEAM_TASKS, SeamConfig
from fila_lab.config.geometry import GeometryConfig
from fila_lab.data.seam import content
from fila_lab.data.seam.tables import tables
from fila_lab.data.seam.tasks import get_task

CONSTRUCTION = """\
Every item is drawn, not collected: a page with a target and distractors on opaque plates, one question, one answer. A test item is a
*triplet*, the target with identical pixels at three places: *cut* by a seam between tiles (`cut_fraction` is the smaller share of its ink),
moved by whole patches to a *sham* place across a mere patch border, and *intact* within a patch as far as it fits; where
`further_places` asks for them, also on two seams (*cross*, in the phase of cut and sham along both axes), and off the sham place by a
canvas pixel or two. Background and distractors are the same in all, and distractors stand at the three kinds of place of a triplet equally
often, as far as they find room. An item
depends on these settings, its split and its index alone. `evidence` says whether the seam runs `through` the ink of what is asked, or
`apart`, between the two parts of the evidence (key and value, or two marks)."""

SOURCES = """\
| part | from | licence, as the source states it |
|---|---|---|
| fonts | matplotlib {matplotlib}: DejaVu, STIX, Computer Modern (BaKoMa) | Bitstream Vera, changes public domain; SIL OFL 1.1; BaKoMa |
| photos | scikit-image {skimage}: {skimage_photos} | CC0, public domain or no known restrictions; moon and motorcycle: not stated |
| photos | scikit-learn {sklearn}: {sklearn_photos} | CC BY 2.0 (danielbuechele, vultilion) |
| strings | pycountry {pycountry}: ISO codes of countries, currencies, scripts, languages, subdivisions; made up for training | LGPL-2.1 |
| tables | statsmodels {statsmodels}: {tables} | public domain |"""

LIMITS = """\
- Generated pages with plates measure mechanisms: what a seam costs and what a detail branch mends. They do not replace the benchmarks they
  stand for, and accuracies are not comparable with theirs.
- Photos are few ({photos} in test): they are backgrounds, and intervals over items are to be clustered by `image_id`.
- Single characters, colours, shapes, labels of form fields, panel layouts and the numbers of tables are the same in all splits; strings of
  two and more characters, keys, fonts, photos and tables are not (`train` and `val` share fonts, photos and tables).
- Distractors that find no room are replaced by smaller ones or left out (`distractors` counts those that are there): large plates on small
  canvases have few.
- On pages with seams along one axis only, pairs along the other are cut through both marks, not between them.
- Numbers of tables are rounded to whole ones, under names of rows that are not the tables' own; a chart's levels are the column's range cut
  into equal steps."""


def data_card(seam: SeamConfig, geometry: GeometryConfig, counts: Mapping[str, int] | None = None, split: str = "") -> str:
    """The card as Markdown; `counts`: task -> items, of an export of `split`."""
    names = [name for name in SEAM_TASKS if counts is None or name in counts]
    head = "| task | stands for | share | chance |" + (" items |" if counts else "") + " what is seen and asked |"
    lines = [head, "|" + "---|" * head.count(" |")]
    total = sum(seam.tasks.values())
    for name in names:
        task = get_task(name)
        share = seam.tasks.get(name, 0.0) / total
        items = f" {counts[name]} |" if counts else ""
        lines.append(f"| `{name}` | {task.benchmark} | {share:.0%} | {task.chance(seam, geometry):.1%} |{items} {task.about} |")
    knobs = "\n".join(f"- `data.seam.{name}`: {_plain(getattr(seam, name))}" for name in SeamConfig.model_fields)
    canvases = ", ".join(f"{width}x{height}" for width, height in geometry.canvases)
    title = f"# Seam suite: {split} split" if split else "# Seam suite"
    where = f"Tiles of {geometry.tile} px, ViT patches of {geometry.patch} px, canvases {canvases}; lengths are canvas px."
    parts = {
        "How items are made": CONSTRUCTION,
        "Tasks": "Chance is what the best answer gets that looks at the question alone.\n\n" + "\n".join(lines),
        "Settings": f"{where}\n\n{knobs}",
        "Sources and licences": _sources(),
        "Limits": LIMITS.format(photos=len(content.photos("test"))),
    }
    return title + "\n\n" + "\n\n".join(f"## {name}\n\n{text}" for name, text in parts.items()) + "\n"


def _sources() -> str:
    photos = sorted({*content.photos("train"), *content.photos("test")})
    theirs: dict[bool, list[str]] = {True: [], False: []}
    for name in photos:
        theirs[name in content.SCIKIT_LEARN].append(name.partition(".")[0])
    return SOURCES.format(
        **{name: version(name) for name in ("matplotlib", "pycountry", "statsmodels")},
        skimage=version("scikit-image"),
        sklearn=version("scikit-learn"),
        skimage_photos=", ".join(theirs[False]),
        sklearn_photos=", ".join(theirs[True]),
        tables=", ".join(table.name for split in ("train", "test") for table in tables(split)),
    )


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {share:g}" for name, share in value.items())
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value) or "none"
    return "all" if value is None else str(value)

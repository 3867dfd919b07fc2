"""What README shows as a study is one, and what the pages show as a suite is one."""

from __future__ import annotations

import re
from pathlib import Path

from fila_lab.config import load_study, resolve_run
from fila_lab.data import Opening, ReadPool
from fila_lab.studies.plan import make_plan

ROOT = Path(__file__).parents[1]


def test_every_study_shown_can_be_planned(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    studies = [block for block in blocks if re.search(r"^arms:", block, flags=re.MULTILINE)]
    assert studies
    for number, text in enumerate(studies):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        study = load_study(path)
        assert all(make_plan(study, budget).cells for budget in study.budgets)


def test_the_suite_shown_gives_items(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, type] = {}
    exec(code, names)
    config = resolve_run("mini")
    pool = ReadPool(names["Colours"](Opening({"rows": 12}, config.geometry, tmp_path)), "test", config.geometry)
    assert len(pool) == 12
    told = pool.describe(range(3))
    assert told["answer"].tolist() == ["red", "green", "blue"]
    assert pool.rules["colour"].score == "exact"

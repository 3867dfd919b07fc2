"""What README shows as a study is one, and what the pages show as a suite is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from fila_lab.config import load_study, resolve_run
from fila_lab.data import Opening, ReadPool
from fila_lab.studies.plan import make_plan

ROOT = Path(__file__).parents[1]


def blocks(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/first_steps.md", "docs/how_to/sweeps.md"])
def test_every_study_shown_can_be_planned(page: str, tmp_path: Path) -> None:
    studies = [block for block in blocks(page) if re.search(r"^arms:", block, flags=re.MULTILINE)]
    assert studies
    for number, text in enumerate(studies):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        study = load_study(path)
        assert all(make_plan(study, budget).cells for budget in study.budgets)


def test_the_sweep_shown_can_be_planned_in_a_study(tmp_path: Path) -> None:
    shown, tuned = map(yaml.safe_load, blocks("docs/how_to/sweeps.md"))
    del tuned["tuning"]
    path = tmp_path / "swept.yaml"
    path.write_text(yaml.safe_dump({**tuned, **shown}, sort_keys=False), encoding="utf-8")
    study = load_study(path)
    assert [make_plan(study, budget).sweep_cells for budget in ("full", "small")] == [60, 8]


def test_the_suite_shown_gives_items(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "how_to" / "benchmarks.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, type] = {}
    exec(code, names)
    config = resolve_run("mini")
    pool = ReadPool(names["Colours"](Opening({"rows": 12}, config.geometry, tmp_path)), "test", config.geometry)
    assert len(pool) == 12
    told = pool.describe(range(3))
    assert told["answer"].tolist() == ["red", "green", "blue"]
    assert pool.rules["colour"].score == "exact"

"""A study's results stay below runs/, whatever the study and its budgets are called."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fila_lab.config import ConfigError, load_study
from fila_lab.config.names import folder_name

WRONG = (
    *("", " ", "a/b", "../a", "..", ".", "a/../../b", "/etc", ".hidden", "~", "~root", "-rf", "a\\b"),
    *("a\nb", "a\x00b", "a\x1bb", "a\u2028b", " a", "a ", "x" * 300, "ü" * 100),
)
RIGHT = ("fusion_methods", "my study", "größe-2", "a.b", "a..b", "2024", "ablation (a)", "ж", "a?b#c%20")


def study(folder: Path, name: str, budget: str = "small") -> Path:
    content = {"name": name, "question": "?", "arms": {"a": {}, "b": {}}, "families": {"f": {"contrasts": [["a", "b"]]}}, "margin": 0.1}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**content, "budgets": {budget: {"seeds": [0]}}}, allow_unicode=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", WRONG)
def test_names_that_lead_elsewhere_are_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"^study\.yaml: name = .*; choose a") as refused:
        load_study(study(tmp_path, name))
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match=r"^study\.yaml: budgets: a name = .*; choose a"):
        load_study(study(tmp_path, "plain", budget=name))


@pytest.mark.parametrize("name", RIGHT)
def test_plain_names_of_any_script_are_kept(tmp_path: Path, name: str) -> None:
    assert load_study(study(tmp_path, name, budget=name)).name == name


def test_a_name_taken_from_the_file_is_checked_too(tmp_path: Path) -> None:
    hidden = study(tmp_path, "x").rename(tmp_path / ".secret.yaml")
    hidden.write_text(hidden.read_text(encoding="utf-8").replace("name: x\n", ""), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"name = '\.secret' begins with '\.'"):
        load_study(hidden)


@given(st.text(max_size=200), st.text(max_size=200))
def test_what_is_accepted_is_a_folder_below_runs(name: str, budget: str) -> None:
    try:
        name, budget = folder_name(name), folder_name(budget)
    except ValueError:
        return
    made = Path("runs") / f"{name}-{budget}"
    assert made.parts == ("runs", f"{name}-{budget}")
    assert len(made.name.encode()) <= 255
    assert "\x00" not in str(made)

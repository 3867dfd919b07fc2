"""A study folder as frames: complete, incomplete, damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import write_study

from fila_lab import analysis
from fila_lab.analysis.findings import Findings
from fila_lab.analysis.plots import tuning_plot
from fila_lab.config.base import FilaError


def test_importing_analysis_loads_neither_pandas_nor_torch() -> None:
    heavy = ("torch", "pandas", "matplotlib", "scipy")
    code = f"import sys, fila_lab.analysis; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "[]\n"
    for name in analysis.__all__:
        assert getattr(analysis, name) is not None


def test_one_row_per_finished_main_cell_in_the_studys_order(full_study: Path) -> None:
    frame = analysis.load_study_frame(full_study)
    assert len(frame) == 6 * 8 - 1
    assert list(dict.fromkeys(frame["arm"])) == ["none", "concat", "addition", "cross_attention", "foreign", "oracle_map"]
    assert frame["id"].is_unique
    assert {"exact/reading", "seam_gap/reading", "timing/total"} <= set(frame.columns)
    assert list(analysis.failures(full_study)[["arm", "seed", "kind"]].itertuples(index=False, name=None)) == [
        ("addition", 5, "not_finite")
    ]
    assert (analysis.load_curves(full_study).groupby("id").size() == 20).all()
    assert analysis.load_costs(full_study).at["concat", "parameters"] == 1_040_000


def test_predictions_of_one_arm(full_study: Path) -> None:
    frame = analysis.load_predictions(full_study, "concat")
    assert frame["arm"].unique().tolist() == ["concat"]
    assert len(frame) == 8 * 60 * 3
    with pytest.raises(FilaError, match="arm='konkat'"):
        analysis.load_predictions(full_study, "konkat")


def test_tuning_names_winners_and_edges(full_study: Path, tmp_path: Path) -> None:
    tuning = analysis.load_tuning(full_study)
    best = tuning[tuning["winner"]]
    assert len(best) == 6
    assert (best["train.learning_rate"] == 2e-3).all()
    assert (best["edge"] == "").all()
    moved = Path(shutil.copytree(full_study, tmp_path / "moved"))
    path = moved / "cells" / "concat-t3" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"validation": {"exact/reading": 0.99}}), encoding="utf-8")
    again = analysis.load_tuning(moved)
    assert again.loc[again["winner"] & (again["arm"] == "concat"), "edge"].item() == "train.learning_rate at the edge of its range"


def test_tuning_is_read_from_its_table_when_its_cells_were_not_kept(full_study: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(full_study, tmp_path / "kept"))
    before = analysis.load_tuning(out)
    (out / "tuning").mkdir()
    before.drop(columns=["winner", "edge"]).rename(columns={"id": "cell"}).to_csv(out / "tuning" / "trials.csv", index=False)
    for cell in before["id"]:
        shutil.rmtree(out / "cells" / cell)
    after = analysis.load_tuning(out)
    assert after[["arm", "trial", "value", "winner", "edge"]].equals(before[["arm", "trial", "value", "winner", "edge"]])


def test_a_half_written_result_is_skipped_and_named(full_study: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(full_study, tmp_path / "half"))
    path = out / "cells" / "none-0003" / "result.json"
    path.write_text(path.read_text(encoding="utf-8")[:200], encoding="utf-8")
    shutil.rmtree(out / "cells" / "none-0004")
    frame = analysis.load_study_frame(out)
    assert set(frame.loc[frame["arm"] == "none", "seed"]) == {0, 1, 2, 5, 6, 7}
    notes = " ".join(frame.attrs["notes"])
    assert "none-0003" in notes
    assert "half-written" in notes
    assert "1 of 48 main cells have not been run" in notes


def test_folders_that_hold_no_results_say_so(tmp_path: Path) -> None:
    with pytest.raises(FilaError, match="no such folder"):
        analysis.load_study_frame(tmp_path / "nowhere")
    with pytest.raises(FilaError, match=r"no plan\.json"):
        analysis.load_study_frame(tmp_path)
    out = write_study(tmp_path / "failed", arms=("none",), seeds=(0,), triplets=6, tuning=False, failed={("none", 0): "out_of_memory"})
    with pytest.raises(FilaError, match=r"none of its 1 main cells is finished; 1 failed, .*out_of_memory"):
        analysis.load_study_frame(out)
    (out / "plan.json").write_text("{", encoding="utf-8")
    with pytest.raises(FilaError, match="not a readable plan"):
        analysis.load_study_frame(out)


def test_missing_costs_are_nan_not_errors(small_study: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(small_study, tmp_path / "costless"))
    (out / "costs.json").unlink()
    assert np.isnan(analysis.load_costs(out).to_numpy()).all()


def test_tuning_over_choices_and_several_seeds_is_a_row_a_trial(tmp_path: Path) -> None:
    out = write_study(tmp_path / "out", arms=("concat", "none"), seeds=(0,), triplets=6)
    plan = json.loads((out / "plan.json").read_text(encoding="utf-8"))
    depth = {"if": {"fusion.combine": "add"}, "choices": ["last", [[3, 2], [4, 4]]]}
    plan["study"]["tuning"] |= {"space": {"fusion.combine": ["concat", "add"], "fusion.depth": depth}, "run_seeds": [1000, 1001]}
    for cell in [cell for cell in plan["cells"] if cell["phase"] == "tuning"]:
        place, cell["trial"], cell["seed"] = cell["trial"], cell["trial"] // 2, 1000 + cell["trial"] % 2
        file = out / "cells" / cell["id"] / "result.json"
        result = json.loads(file.read_text(encoding="utf-8"))
        result["config"]["fusion"] |= {"combine": "add", "depth": [[3, 2], [4, 4]]} if cell["trial"] else {"combine": "concat"}
        result["validation"]["exact/reading"] = place / 10
        file.write_text(json.dumps(result), encoding="utf-8")
    (out / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    own = analysis.load_tuning(out).query("arm == 'concat'")
    assert own["trial"].tolist() == [0, 1]
    assert own["fusion.combine"].tolist() == ["concat", "add"]
    assert own["fusion.depth"].isna().tolist() == [True, False], "not searched under the other value"
    assert own["value"].tolist() == pytest.approx([0.05, 0.25])
    assert own["id"].tolist() == ["concat-t0 concat-t1", "concat-t2 concat-t3"]
    assert own["winner"].tolist() == [False, True]
    figure = tuning_plot(Findings.of(out))
    assert figure is not None
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["last", "[[3, 2], [4, 4]]"]

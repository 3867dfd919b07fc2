"""Tables of a probe by hand, and that every figure is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fila_lab.analysis import probes
from fila_lab.config.base import FilaError


@pytest.fixture
def frames() -> dict[str, pd.DataFrame]:
    """Two canvases, two fusion points; injection is 1 / distance to the seam, the second fusion point ten times as strong."""
    tokens, found = [], []
    for item in range(6):
        width = 6 if item % 2 else 3
        for stage, layer in ((1, 1), (4, 5)):
            for row in range(6):
                for col in range(width):
                    seam = min([abs(row + 0.5 - 3)] + ([abs(col + 0.5 - 3)] if width == 6 else []))
                    place = {"item_id": f"i{item}", "place": "cut", "task": "reading", "canvas": f"{14 * width}x84", "image_id": "p"}
                    place |= {"content": "code" if col == 0 else "paper", "stage": stage, "layer": layer}
                    where = {"row": row, "col": col, "tile": row // 3 * (width // 3) + col // 3}
                    acts = {"seam_patches": seam, "target_patches": float(col), "injection": stage / seam, "gate": 0.5, "token_norm": 1.0}
                    tokens.append(place | where | acts)
                    for moment in ("before", "after"):
                        for features in ("trained", "random"):
                            hit = float(moment == "after" or features == "random")
                            scores = {"hit_tile": hit, "hit_canvas": hit / 2, "chance_tile": 1 / 9, "chance_canvas": 1 / 18}
                            found.append(place | {"tokens": moment, "features": features} | scores)
    answers = []
    for item, (whole, without) in enumerate(((1, 0), (1, 0), (1, 1), (0, 1))):
        for off, right in (("nothing", whole), ("1->1", without), ("everything", 0)):
            for place in ("cut", "sham"):
                row = {"item_id": f"t{item}", "task": "reading", "place": place, "image_id": "p", "canvas": "84x84", "off": off}
                answers.append(row | {"correct": bool(right if place == "cut" else whole)})
    rng = np.random.default_rng(0)
    positions = pd.DataFrame({"target_x": rng.uniform(0, 84, 99), "target_y": rng.uniform(0, 84, 99), "correct": True}).assign(
        canvas="84x84"
    )
    positions = positions.assign(tile_px=42, patch_px=14)
    found_ = {"tokens": pd.DataFrame(tokens), "alignment": pd.DataFrame(found), "attribution": pd.DataFrame(answers)}
    return found_ | {"positions": positions}


def test_where_fusion_acts_by_distance(frames: dict[str, pd.DataFrame]) -> None:
    table = probes.acting_table(frames["tokens"]).set_index(["stage", "layer", "distance"])
    assert table.loc[(1, 1, 1), "injection"] == pytest.approx(2)
    assert table.loc[(4, 5, 2), "injection"] == pytest.approx(4 / 1.5)
    assert table["tokens"].sum() == len(frames["tokens"])
    target = probes.acting_table(frames["tokens"], "target")
    assert sorted(target["distance"].unique()) == [0, 1, 2, 3, 4, 5]
    far = frames["tokens"].assign(target_patches=20.5)
    assert probes.acting_table(far, "target")["distance"].tolist() == [np.inf, np.inf]
    with pytest.raises(FilaError, match="choose seam or target"):
        probes.acting_table(frames["tokens"], "edge")


def test_alignment_stands_beside_its_chance(frames: dict[str, pd.DataFrame]) -> None:
    table = probes.alignment_table(frames["alignment"]).set_index(["stage", "tokens", "features"])
    assert table.loc[(1, "before", "trained"), "tile"] == 0
    assert table.loc[(1, "after", "trained"), ["tile", "canvas", "tile_chance"]].tolist() == pytest.approx([1, 0.5, 1 / 9])
    by_content = probes.alignment_table(frames["alignment"], ["content"])
    assert set(by_content["content"]) == {"code", "paper"}
    assert probes.alignment_table(pd.DataFrame()).empty


def test_attribution_by_hand(frames: dict[str, pd.DataFrame]) -> None:
    """At the cut place 3 of 4 are right, and 2 of 4 without the first fusion point: 2 lost, 1 gained."""
    table = probes.attribution_table(frames["attribution"]).set_index(["place", "off"])
    assert table.loc[("cut", "nothing"), ["accuracy", "loss"]].tolist() == [0.75, 0]
    assert table.loc[("cut", "1->1"), ["accuracy", "loss", "items"]].tolist() == pytest.approx([0.5, 0.25, 4])
    assert table.loc[("sham", "1->1"), "loss"] == 0
    assert table.loc[("all", "everything"), "loss"] == pytest.approx(0.75 / 2)  # the sham place loses nothing


def test_every_figure_is_drawn_and_seams_lie_between_tiles(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    written = probes.write_probe_figures(frames, tmp_path)
    assert [path.name for path in written] == ["distance.png", "page.png", "alignment.png", "attribution.png", "positions.png"]
    assert all(path.stat().st_size > 5000 for path in written)
    wide = frames["tokens"].query("canvas == '84x84' and stage == 1")
    assert probes._seams(wide) == [([2.5, 2.5], [-0.5, 5.5]), ([-0.5, 5.5], [2.5, 2.5])]
    assert len(probes.write_probe_figures({**frames, "alignment": pd.DataFrame()}, tmp_path)) == 4
    assert probes.probed_map(frames)["answers"].sum() == 99


def test_frames_come_back_from_their_folder(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    with pytest.raises(FilaError, match=r"no tokens\.parquet; make it with"):
        probes.load_probe(tmp_path)
    for name, frame in frames.items():
        frame.to_parquet(tmp_path / f"{name}.parquet")
    assert set(probes.load_probe(tmp_path)) == set(frames)

"""Presets resolve, inherit, and refuse what cannot work, each with one message that names field, value and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from fila_lab.config import ConfigError, load_preset, load_study, parse_set, preset_names, resolve_fusion_points, resolve_run
from fila_lab.config.tiling import seen_canvases

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("name", preset_names())
def test_every_shipped_preset_resolves(name: str) -> None:
    config = load_preset(name)
    assert config.preset == name
    assert config.geometry.detail_cells == config.geometry.grid  # native detail resolution


def test_base_inherits_from_paper_and_replaces_lists_whole() -> None:
    base, paper = load_preset("base"), load_preset("paper")
    assert base.vit.quick_gelu is paper.vit.quick_gelu is True
    assert base.runtime == paper.runtime
    assert base.geometry.canvases == ((224, 448), (448, 224), (448, 448), (672, 224), (224, 672))


def test_a_user_preset_extends_by_name_or_by_relative_path(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("extends: mini\ntrain: {steps: 7}\n", encoding="utf-8")
    (tmp_path / "two.yaml").write_text("extends: ./one.yaml\nfusion: {name: addition}\n", encoding="utf-8")
    config = resolve_run(str(tmp_path / "two.yaml"))
    assert (config.train.steps, config.fusion.name, config.train.batch_size) == (7, "addition", 64)
    assert config.preset == "two"  # no path of a machine gets into results


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("extends: ./self.yaml\n", "leads back to itself"),
        ("extends: minni\n", "did you mean 'mini'"),
        ("extends: mini\ntrain: {stpes: 3}\n", "self.yaml: unknown key 'train.stpes' (did you mean 'steps'?)"),
        ("extends: [mini\n", "not valid YAML"),
        ("- 1\n", "expected keys and values"),
        ("vit: {width: 8}\n", "geometry is missing"),
    ],
)
def test_bad_presets(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "self.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        resolve_run(str(path))
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("fusion.nam=concat", "'fusion.nam' (did you mean 'name'?)"),
        ("fusoin.name=concat", "'fusoin' (did you mean 'fusion'?)"),
        ("fusion.name=concta", "fusion.name = 'concta' is unknown (did you mean 'concat'?)"),
        ("fusion.depth=[[1, 2], [5, 3]]", "stage 5 does not exist"),
        ("fusion.depth=[[2, 3], [1, 2]]", "layers must increase"),
        ("fusion.depth=[[4, 6]]", "at least one layer follows the last"),
        ("fusion.depth=[[4, 6]]", "write `after` for the layer"),
        ("fusion.depth=[[4, 3], [4, 3]]", "stands there twice"),
        ("fusion.depth=[[1, after], [2, 3]]", "layers must increase"),
        ("fusion={name: llava_hr, combine: add}", "fusion.combine = 'add' has no meaning with fusion.name = 'llava_hr'"),
        ("fusion={name: mini_gemini, gate: true}", "fusion.gate = True has no meaning"),
        ("fusion={name: bidirectional, heads: 5}", "fusion.heads = 5 does not divide"),
        ("fusion={name: cross_tile, control: shifted}", "looks at none"),
        ("fusion={name: cross_tile, control: oracle_map}", "a fusion of the truth"),
        ("fusion.handoff=apend", "did you mean 'append'"),
        (
            "fusion.reach=tile",
            "fusion.reach = 'tile' makes the twin of a fusion that looks across seams, but fusion.name = 'cross_attention'",
        ),
        ("fusion={name: none, reach: tile}", "leave it out, or choose cross_attention_neighbours, cross_tile, slice_restore"),
        ("fusion={name: bidirectional, reach: tile}", "fusion.name = 'bidirectional' does not"),
        ("fusion={name: cross_tile, aggregate: pool, reach: tile}", "but fusion.aggregate = 'pool' does not"),
        ("fusion={name: cross_attention_neighbours, control: oracle_map, reach: tile}", "or take another control"),
        ("fusion={name: cross_tile, reach: tiles}", "fusion.reach = 'tiles' is unknown (did you mean 'tile'?)"),
        ("fusion.options.parts=local", "fusion.options = {'parts': 'local'} has no meaning with fusion.name = 'cross_attention'"),
        ("fusion={name: slice_restore, options: {part: local}}", "fusion.options: unknown key 'part' (did you mean 'parts'?)"),
        ("fusion={name: slice_restore, options: {parts: locl}}", "fusion.options.parts = 'locl' is unknown (did you mean 'local'?)"),
        ("fusion={name: slice_restore, options: {pooled: 4}}", "fusion.options.pooled = 4 is more than the 3 tokens of a tile's side"),
        ("fusion={name: shifted_window, options: {window: 3}}", "fusion.options.window = 3 is odd, so no seam could lie in its middle"),
        ("geometry.tiling.second=cip", "geometry.tiling.second = 'cip': input should be a valid dictionary; give a mapping"),
        ("fusion={name: shifted_window, options: {window: 4}}", "fusion.options.window = 4 is wider than a tile of 3 tokens"),
        ("fusion={name: shifted_window, options: {placement: textmonkey}}", "12 tokens, more than a canvas's side of 3"),
        ("fusion={name: shifted_window, control: shifted}", "looks at none"),
        ("fusion={name: tile_summary, options: {summaries: 0}}", "fusion.options.summaries = 0"),
        ("fusion={name: tile_summary, hidden: 30}", "fusion.heads = 4 does not divide"),
        ("fusion={name: tile_summary, gate: true}", "fusion.gate = True has no meaning"),
        ("vit.feature_layer=-2", "at least one layer follows the last"),
        ("vit.feature_layer=-9", "outside a ViT of 6 layers"),
        ("fusion.depth=first", "`last`, `multi`, `after` (behind the feature layer), or a list"),
        ("fusion.heads=5", "fusion.heads = 5 does not divide"),
        ("vit.heads=5", "vit.heads = 5 does not divide"),
        ("geometry.detail_cells=0", "geometry.detail_cells = 0"),
        ("geometry.detail_cells=1000", "choose at most 170"),
        ("geometry.vit_scale=2", "set fusion.name=none"),
        ("geometry.vit_scale=0", "geometry.vit_scale = 0"),
        ("geometry.tile=40", "geometry.tile=40 is not a multiple of patch=14"),
        ("geometry.canvases=[[42, 50]]", "42x50 is not a whole number of tiles"),
        ("data.val_items=5000", "data.val_items = 5000 is more than data.val_pool"),
        ("data.test_triplets=0", "data.test_triplets = 0"),
        ("data.seam.tasks={}", "data.seam.tasks is empty"),
        ("data.seam.tasks.reading=0.5", "add up to 1"),
        ("data.seam.tasks.readin=0.5", "did you mean 'reading'"),
        ("data.train_tasks=[coarce]", "data.train_tasks: 'coarce' is not among data.seam.tasks (did you mean 'coarse'?)"),
        ("data.train_tasks=[]", "data.train_tasks = []"),
        ("train.steps=many", "train.steps = 'many'"),
        ("train.steps.x=1", "train.steps has no keys below it"),
        ("runtime.precision=bf61", "did you mean 'bf16'"),
        ("vit.weights=pretrained", "random, package:NAME"),
        ("convnext.weights=imagenet", "timm:"),
        ("vit.weights=timm:convnext_base.clip_laion2b", "open_clip:ViT-L-14-336/openai"),
        ("fusion={control: shiftd}", "did you mean 'shifted'"),
    ],
)
def test_one_message_with_field_value_and_remedy(assignment: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve_run("mini", {"fusion.name": "cross_attention"}, parse_set([assignment]))
    message = str(error.value)
    assert words in message
    assert "\n" not in message
    assert "pydantic" not in message


def test_a_control_needs_a_fusion() -> None:
    with pytest.raises(ConfigError, match=r"fusion\.control = 'foreign' needs a fusion"):
        resolve_run("mini", {"fusion.name": "none", "fusion.control": "foreign"})


def test_a_vit_scale_beyond_the_pages_pixels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fusion\.handoff = 'append' hands it on"):
        resolve_run("mini", {"fusion.name": "none", "fusion.handoff": "append", "geometry.vit_scale": 2})
    assert seen_canvases(resolve_run("mini", {"fusion.name": "none", "geometry.vit_scale": 4}))[0] == (168, 336)
    with pytest.raises(ConfigError, match=r"geometry\.vit_scale = 5 .* 70 px.* 64 px .*choose at most 4"):
        resolve_run("mini", {"fusion.name": "none", "geometry.vit_scale": 5})


def test_unknown_fusion_is_looked_for_among_installed_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    point = importlib.metadata.EntryPoint("bilinear_pooling", "nowhere:to_be_imported", "fila_lab.fusions")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    assert resolve_run("mini", {"fusion.name": "bilinear_pooling"}).fusion.name == "bilinear_pooling"
    with pytest.raises(ConfigError, match="did you mean 'bilinear_pooling'"):
        resolve_run("mini", {"fusion.name": "bilinear_poling"})


@pytest.mark.parametrize(("layers", "after"), [(24, (2, 6, 12, 20)), (12, (1, 3, 6, 10)), (6, (1, 2, 3, 5)), (32, (3, 8, 16, 27))])
def test_fusion_points_scale_with_depth(layers: int, after: tuple[int, ...]) -> None:
    pairs = resolve_fusion_points("multi", layers)
    assert pairs == tuple(zip((1, 2, 3, 4), after, strict=True))
    assert resolve_fusion_points("last", layers) == pairs[-1:]
    assert resolve_fusion_points([(2, 3)], layers) == ((2, 3),)
    assert resolve_fusion_points("after", layers, -2) == ((1, layers - 1),)
    assert resolve_fusion_points([(4, 2), (3, "after"), (4, "after")], layers) == ((4, 2), (3, layers), (4, layers))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_shipped_studies_load_and_say_their_file_name(path: Path) -> None:
    study = load_study(path)
    assert study.name == path.stem
    assert study.question.endswith("?")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("margin: 0.02", "margn: 0.02", "did you mean 'margin'"),
        ("margin: 0.02", "margin: -1", "margin = -1"),
        ("equalise: steps", "equalise: flop", "did you mean 'flops'"),
        ("[addition, none]", "[adition, none]", "unknown arm 'adition' (did you mean 'addition'?)"),
        ("role: fusion, label: addition", "role: fusin, label: addition", "arms.addition.role = 'fusin'"),
        ("seeds: [0, 1, 2]", "seeds: []", "budgets.small.seeds"),
    ],
)
def test_bad_studies(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = next(path for path in EXPERIMENTS if path.stem == "fusion_methods").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "study.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_study(path)
    assert words in str(error.value)
    assert str(error.value).startswith("study.yaml: ")


def test_a_fusions_usual_reach_and_options_leave_records_as_they_were() -> None:
    """Ids, checkpoints and costs of a run say no more than before there were these fields; what says the usual is the usual."""
    run = resolve_run("mini", {"fusion": {"name": "slice_restore", "options": {"parts": "both", "pooled": None}, "reach": "canvas"}})
    assert run == resolve_run("mini", {"fusion.name": "slice_restore"})
    assert not {"reach", "options"} & run.model_dump()["fusion"].keys()
    assert run.model_dump(context={"whole": True})["fusion"]["reach"] == "canvas"
    other = resolve_run("mini", {"fusion.name": "slice_restore", "fusion.options.pooled": 1, "fusion.reach": "tile"})
    assert other.model_dump()["fusion"]["options"] == {"pooled": 1}
    assert type(other).model_validate(other.model_dump(mode="json")) == other


def test_a_preset_given_as_a_study_and_a_study_given_as_a_preset_are_called_so(tmp_path: Path) -> None:
    preset, study = tmp_path / "preset.yaml", tmp_path / "study.yaml"
    preset.write_text("extends: mini\ntrain: {steps: 3}\n", encoding="utf-8")
    study.write_text("preset: mini\narms: {none: {role: baseline}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is a preset, not a study; train it by itself"):
        load_study(preset)
    with pytest.raises(ConfigError, match=r"is a study, not a preset; run it"):
        resolve_run(str(study))

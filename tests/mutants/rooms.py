"""Which files are tried, and which tests are asked about them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """Files (patterns below the repository) and the tests that are to notice faults in them."""

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]


_FUSION = ("test_plain_fusions", "test_fusion", "test_rivals", "test_dtypes")
_ENCODER = (
    "test_encoder",
    "test_tilings_model",
    "test_grids_model",
    "test_whole_image",
    "test_batch_independence",
    "test_alignment_controls",
    "test_fast_paths",
    "test_rivals",
    "test_convnext_only",
    "test_regions",
)
_DETAIL = ("test_detail_input", "test_resample", *_ENCODER)


def _in(room: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{room}/{name}.py" for name in names)


# The tests of a room are those that state what its files promise; what takes longer (whole cells, whole studies) stays out.
ROOMS = (
    Room("fusion", ("fila_lab/modeling/fusion/*.py",), _in("modeling", *_FUSION)),
    Room(
        "detail maps",
        ("fila_lab/modeling/detail.py", "fila_lab/modeling/detail_input.py", "fila_lab/modeling/resample.py"),
        _in("modeling", *_DETAIL),
    ),
    Room("encoder", ("fila_lab/modeling/encoder.py", "fila_lab/modeling/projector.py"), _in("modeling", "test_projector", *_ENCODER)),
    Room(
        "geometry",
        (
            "fila_lab/imaging/geometry.py",
            "fila_lab/imaging/seams.py",
            "fila_lab/imaging/resample.py",
            "fila_lab/config/canvas_rules.py",
            "fila_lab/config/tiling.py",
        ),
        (
            *_in("imaging", "test_geometry", "test_grids", "test_canvas", "test_seams", "test_tilings", "test_prepare"),
            *_in("cost/closed", "test_tiling_costs"),
        ),
    ),
    Room("sampler", ("fila_lab/data/sampler.py", "fila_lab/data/streams.py"), _in("data", "test_sampler")),
    Room(
        "batches",
        tuple(f"fila_lab/training/{name}.py" for name in ("batches", "data", "streams", "texts")),
        _in("training", "test_collator", "test_streams", "test_truth_loss"),
    ),
    Room(
        "scores",
        ("fila_lab/evaluation/scores/*.py", "fila_lab/evaluation/alignment.py"),
        _in("evaluation", "test_scores", "test_aggregates", "test_alignment_score"),
    ),
    Room(
        "seam",
        ("fila_lab/evaluation/seam.py", "fila_lab/data/seam/places.py"),
        (*_in("evaluation", "test_seam"), *_in("data/seam", "test_places")),
    ),
    Room(
        "statistics",
        (
            "fila_lab/analysis/statistics.py",
            "fila_lab/analysis/bootstrap.py",
            "fila_lab/analysis/new_items.py",
            "fila_lab/config/power.py",
            "fila_lab/config/critical_t.py",
        ),
        (*_in("analysis", "test_statistics", "test_new_items"), *_in("config", "test_power")),
    ),
    Room(
        "verdicts",
        ("fila_lab/analysis/verdicts.py", "fila_lab/analysis/contrasts.py", "fila_lab/analysis/subgroups.py"),
        _in("analysis", "test_verdicts", "test_interactions", "test_new_items", "test_subgroups"),
    ),
    Room(
        "store",
        ("fila_lab/studies/store.py", "fila_lab/studies/result.py", "fila_lab/studies/faults.py", "fila_lab/config/files.py"),
        (*_in("studies", "test_store"), *_in("config", "test_files")),
    ),
    Room("plan", ("fila_lab/studies/plan.py", "fila_lab/studies/arms.py"), _in("studies", "test_plan", "test_refusals")),
    Room(
        "identity",
        ("fila_lab/studies/identity.py", "fila_lab/config/hashing.py"),
        (*_in("studies", "test_identity", "test_shared_stages"), *_in("config", "test_hashing")),
    ),
)

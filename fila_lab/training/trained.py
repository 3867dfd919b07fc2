"""A cell's trained parts as one file: written when the cell is done, read to ask it again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fila_lab.config import FilaError, RunConfig
from fila_lab.config.files import becoming, set_usual_mode
from fila_lab.config.json_files import parse_json
from fila_lab.config.renamed import present_run
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.modeling import FilaModel, build_model
from fila_lab.modeling.fit import require_fit
from fila_lab.modeling.sharding import is_sharded, whole


def trained_state(model: FilaModel, names: Collection[str] | None = None, keep: bool = True) -> dict[str, Tensor]:
    """Name -> value, whole and on the CPU, of the parameters of these names, or of all that train now.

    keep: False for a rank beyond the first, which is asked because each has a share where weights lie in parts, and keeps nothing.
    """
    chosen = ((name, value) for name, value in model.named_parameters() if (value.requires_grad if names is None else name in names))
    state = ((name, whole(value.detach())) for name, value in chosen if keep or is_sharded(model))
    return {name: value.cpu().contiguous() for name, value in state if keep}


def save_trained(model: FilaModel, config: RunConfig, path: Path, names: Collection[str] | None = None) -> None:
    """`save_state` of `trained_state`, in one process."""
    save_state(trained_state(model, names), config, path)


def save_state(state: dict[str, Tensor], config: RunConfig, path: Path) -> None:
    """Write trained parts as safetensors, with the config beside them. OSError where the disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with becoming(path) as temporary:
        save_file(state, temporary, metadata={"config": config.model_dump_json()})
        set_usual_mode(temporary)


def load_trained(cell: Path) -> FilaModel:
    """The model of a cell's folder: towers from their own files, trained parts from the cell. FilaError as `trained_parts` and `fill`."""
    config, state = trained_parts(cell)
    model = build_model(config)
    fill(model, state, cell)
    return model


def trained_parts(cell: Path, field: str = "--cell") -> tuple[RunConfig, dict[str, Tensor]]:
    """A cell's configuration and what it trained. field: what messages call the folder.

    Raises:
        FilaError: no trained parts there, or a file that cannot be read.
    """
    path = cell / TRAINED_PARTS
    if not path.is_file():
        raise FilaError(
            f"{field}={cell}: there is no {TRAINED_PARTS} (published folders and cells that failed carry none, nor do runs with "
            "checkpoints=False); give a cell of a folder that `fila-lab run` wrote"
        )
    try:
        with safe_open(path, framework="pt") as file:
            said = (file.metadata() or {}).get("config")
            if said is None:
                raise ValueError("it holds no run's configuration, so it is not what `fila-lab run` wrote")
            config = RunConfig.model_validate(present_run(parse_json(said)))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError, ValueError) as error:
        raise FilaError(f"{field}={cell}: {path.name} cannot be read ({error}); run the cell again") from error
    return config, state


def fill(model: FilaModel, state: dict[str, Tensor], cell: Path, field: str = "--cell", names: Collection[str] | None = None) -> None:
    """Give a model what a cell trained: the parameters of these names, or all that train. FilaError where it does not fit."""
    known = dict(model.named_parameters())
    trained = {name: known[name] for name in (names if names is not None else [name for name in known if known[name].requires_grad])}
    model.load_state_dict(require_fit(field, f"{cell}/{TRAINED_PARTS}", trained, state, remedy="run the cell again"), strict=False)

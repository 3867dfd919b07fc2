"""What a run and a study are: strict models, presets, overrides, hashes. Imports no other room and no torch."""

from fila_lab.config.base import ConfigError, FilaError, MachineError, Strict, did_you_mean
from fila_lab.config.checks import check_run
from fila_lab.config.data import DataConfig
from fila_lab.config.fusion import FusionConfig
from fila_lab.config.fusion_checks import known_fusions
from fila_lab.config.fusion_points import feature_index, resolve_fusion_points
from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.grid import Grid
from fila_lab.config.hashing import canonical_json, config_hash
from fila_lab.config.language import LanguageConfig
from fila_lab.config.loading import load_preset, load_study, preset_names, resolve_run
from fila_lab.config.overrides import parse_set
from fila_lab.config.projector import ProjectorConfig
from fila_lab.config.run import RunConfig
from fila_lab.config.runtime import RuntimeConfig
from fila_lab.config.search import Sweep, Tuning
from fila_lab.config.strategies import FUSIONS
from fila_lab.config.study import Arm, Budget, Family, Match, StudyConfig
from fila_lab.config.towers import ConvNextConfig, VitConfig
from fila_lab.config.train import TrainConfig
from fila_lab.config.weights import require_weights, weights_file

__all__ = [
    "FUSIONS",
    "Arm",
    "Budget",
    "ConfigError",
    "ConvNextConfig",
    "DataConfig",
    "Family",
    "FilaError",
    "FusionConfig",
    "GeometryConfig",
    "Grid",
    "LanguageConfig",
    "MachineError",
    "Match",
    "ProjectorConfig",
    "RunConfig",
    "RuntimeConfig",
    "Strict",
    "StudyConfig",
    "Sweep",
    "TrainConfig",
    "Tuning",
    "VitConfig",
    "canonical_json",
    "check_run",
    "config_hash",
    "did_you_mean",
    "feature_index",
    "known_fusions",
    "load_preset",
    "load_study",
    "parse_set",
    "preset_names",
    "require_weights",
    "resolve_fusion_points",
    "resolve_run",
    "weights_file",
]

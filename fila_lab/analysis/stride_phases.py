"""Arms whose cut and sham places do not always share the phase of the ConvNeXt's stride: their seam gaps are not of seams alone."""

from __future__ import annotations

from pydantic import ValidationError

from fila_lab.analysis.counterparts import config_of
from fila_lab.analysis.findings import Findings
from fila_lab.config.base import FilaError
from fila_lab.config.run import RunConfig
from fila_lab.config.stride_phase import phase_kept, phase_note


def arms_apart(findings: Findings) -> frozenset[str]:
    """Those of the arms with seam gaps."""
    return findings.once(_apart)


def apart_text(findings: Findings) -> str:
    """What a reader of the gaps must know of them; empty where there are none."""
    return phase_note(findings.once(_runs))


def _apart(findings: Findings) -> frozenset[str]:
    return frozenset(arm for arm, run in findings.once(_runs).items() if phase_kept(run) in ("some", "none"))


def _runs(findings: Findings) -> dict[str, RunConfig]:
    """Arms with seam gaps, as they ran; without those whose record is no run of today's."""
    gaps = [name for name in map(str, findings.frame) if name.startswith("seam_gap/")]
    with_gaps = set(findings.frame.loc[findings.frame[gaps].notna().any(axis=1), "arm"]) if gaps else set()
    runs = {}
    for arm in findings.folder.arms:
        if arm in with_gaps:
            try:
                runs[arm] = RunConfig.model_validate(config_of(findings, arm))
            except (ValidationError, FilaError, ValueError):
                continue
    return runs

"""Everything that scoring new rows needs, as one frozen value (``models.persist`` saves it)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segpipe.models.calibration import Calibration
from segpipe.models.scaler import Scaler
from segpipe.models.strata import Strata
from segpipe.schema import NOISE
from segpipe.values import Detector, SegmentModel

FORMAT = 1
"""Version of the meaning of these fields, beside the file format's own."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted job: features, scaler, segments, outlier reference, frozen calibration, names."""

    model_id: str
    features: str
    """Feature set: columns, rfm, connections, hosts, pixels."""
    feature_params: str
    """The set's parameters, JSON text."""
    keys: tuple[str, ...]
    numeric: tuple[str, ...]
    """Raw numeric feature columns."""
    categorical: tuple[str, ...]
    scaler: Scaler
    model: SegmentModel
    detector: Detector | None
    calibration: Calibration | None
    names: tuple[tuple[int, str], ...]
    """(segment, name)."""
    quality: tuple[tuple[str, float | None], ...] = ()
    """Of the fitting run: inertia, silhouette, stability ..."""
    format: int = FORMAT
    weight_scale: float | None = None
    """What the users' row weights are multiplied by (``Weighing``); None: fitted without."""
    strata: Strata | None = None
    """Calibrations of ``outliers.stratum``; None: one for all rows."""


def name_of(names: Mapping[int, str], segment: int) -> str:
    """A segment's given name, else ``noise`` for -1 or its number."""
    return names.get(segment, "noise" if segment == NOISE else f"segment {segment}")

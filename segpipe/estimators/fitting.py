"""From rows to fitted values, by the stages of ``segpipe run``: the same numbers, nothing written.

Settings are validated as a config, so a parameter has one range and one meaning everywhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from segpipe import configfile
from segpipe.config import Config
from segpipe.errors import DataError
from segpipe.estimators.rows import WEIGHT, Rows
from segpipe.estimators.saying import Whole
from segpipe.features.plan import Built, Plan, Request
from segpipe.features.sets import SETS
from segpipe.features.typing import sniff
from segpipe.fit.select import Decision
from segpipe.lake.binding import compile_contract
from segpipe.lake.contract import BAD_WEIGHT
from segpipe.models.calibration import Calibration
from segpipe.models.fitted import Fitted
from segpipe.scoring.calibrate import calibrate
from segpipe.stages import described, learn, orders
from segpipe.values import Column, Detector, SegmentModel

SET = "columns"
"""The feature set of a table whose columns are the features."""


def settings(name: str, sections: Mapping[str, Mapping[str, Any]], seed: Any) -> Config:
    """The config that these parameters mean; ConfigError names every wrong one."""
    tree: dict[str, Any] = {"source": {"uri": "memory"}, "target": {"uri": "memory"}}
    tree |= {key: {k: _plain(v) for k, v in part.items()} for key, part in sections.items()}
    tree["seed"] = _plain(seed)
    return configfile.validate(tree, name)


def _plain(value: Any) -> Any:
    """A NumPy scalar as Python's own; tuples as lists, which YAML would have given."""
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Typed rows and what is known of them."""

    rows: Rows
    plan: Plan
    built: Built
    seen: described.Described
    config: Config


def prepared(rows: Rows, config: Config, names: Sequence[str]) -> Prepared:
    """Rows typed and described, with the scaler; all columns enter as if named in the config."""
    featureset, weight = SETS[SET], WEIGHT if WEIGHT in rows.schema.names else None
    chosen = config.features.categorical
    request = Request(
        columns=tuple(names),
        categorical=chosen if isinstance(chosen, str) else tuple(chosen),
        weight=weight,
    )
    unsure = featureset.unsure(rows.schema, {}, request)
    facts = sniff(rows.engine, rows.frame, unsure)
    plan = featureset.plan(rows.schema, {}, request, facts)
    columns = list(plan.columns)
    if weight is not None:
        columns.append(Column(weight, "weight", nulls=BAD_WEIGHT))
    contract = compile_contract(rows.schema, columns, {})
    frame = rows.frame.then(Whole(contract), contract.schema)
    built = featureset.build(rows.engine, frame, contract.schema, plan)
    if weight is not None:
        built = replace(built, weight=weight)
    step = described.looking(built, config.fit.sample_rows, config.seed, rows.count)
    seen = described.look(
        rows.engine, built, featureset, config.features.scale, (), True, step, None
    )  # fmt: skip
    if seen.description.rows < 2:
        raise DataError("the table has one row; nothing can be compared with it.")
    return Prepared(rows, plan, built, seen, config)


def segmented(given: Prepared, decision: Decision) -> tuple[SegmentModel, float | None]:
    """The chosen model after its exact passes over all rows, ids in order, and its inertia."""
    config, seen = given.config, given.seen
    engine, built = given.rows.engine, given.built
    watch = learn.watch_for(built, seen, None, {"contamination": 0.5}, None)
    model, tally = learn.settle(engine, built, seen, config.fit, decision, watch, config.seed)
    if tally is None:
        tally = learn.count(engine, built, seen, model, watch)
    inertia = tally.inertia(model, seen.scaler.unit)
    return model, None if inertia is None else inertia * seen.per_weight


def detected(given: Prepared, model: SegmentModel) -> tuple[Detector, Calibration]:
    """The outlier reference and its calibration over all rows."""
    config, seen = given.config, given.seen
    threshold = config.outliers.threshold.model_dump(exclude_none=True)
    detector = learn.detect(
        seen,
        model=model,
        method=orders.method_of(config),
        mass=config.outliers.mass,
        collapse=orders.collapse_of(config, given.built.schema.names),
        density_rows=config.fit.density_rows,
        min_share=config.fit.min_share,
        seed=config.seed,
    )
    assert detector is not None
    watch = learn.watch_for(given.built, seen, detector, threshold, None)
    tally = learn.count(given.rows.engine, given.built, seen, model, watch)
    return detector, calibrate(tally, watch.edges, threshold, detector.method)


def bundle(
    given: Prepared,
    model: SegmentModel,
    detector: Detector | None,
    calibration: Calibration | None,
    inertia: float | None,
    told: Mapping[str, Any],
) -> Fitted:
    """Everything that scoring needs; ``told``: plain values about the estimator that made it."""
    built, scaler = given.built, given.seen.scaler
    params = json.dumps(
        {
            "keys": (),
            "columns": given.plan.request.columns,
            "categorical": given.plan.request.categorical,
            "numeric": given.plan.numeric,
            "category_columns": given.plan.categorical,
            **told,
        },
        sort_keys=True,
    )
    digest = hashlib.sha256(f"{params} {scaler.inputs} {scaler.unit}".encode())
    digest.update(np.ascontiguousarray(model.centres, np.float64).tobytes())
    if calibration is not None:
        digest.update(calibration.top.tobytes())
    quality = (("inertia", inertia),) if inertia is not None else ()
    return Fitted(
        digest.hexdigest()[:16], SET, params, (), built.numeric, built.categorical,
        scaler, model, detector, calibration, (), quality,
    )  # fmt: skip

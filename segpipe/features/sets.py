"""The table of feature sets: what each asks of the source, and how it builds its columns.

    plan  = SETS[name].plan(schema, mapping, request, facts)    what to read, under which names
    built = SETS[name].build(engine, rows, rows_schema, plan)   keys and raw feature columns

``rows`` are the rows that the data contract accepted, with ``plan.columns`` typed. Everything is
in original units; ``models.scaler`` takes the logarithms and scales.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pyarrow as pa

from segpipe.engines.protocol import Engine, Frame
from segpipe.features import connections, entities, hosts, pixels, rfm
from segpipe.features.plan import Built, Plan, Request
from segpipe.features.typing import TextFacts

__all__ = ["SETS", "Built", "FeatureSet", "Plan", "Request"]


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """One way to describe an entity, a log row or a pixel by numbers."""

    plan: Callable[[pa.Schema, Mapping[str, str], Request, Mapping[str, TextFacts]], Plan]
    """(source schema, ours -> theirs, request, facts of text columns) -> what is read.

    Raises DataError when the source cannot serve the set."""
    build: Callable[[Engine, Frame, pa.Schema, Plan], Built]
    unsure: Callable[[pa.Schema, Mapping[str, str], Request], tuple[str, ...]]
    """Source text columns that ``typing.sniff`` must look at before ``plan``; empty for most."""
    keys: tuple[str, ...] = ()
    """Default of contract.keys."""
    encoding: str = "onehot"
    """Of categories, for ``fit_scaler``."""
    near_copies: bool = False
    """Default of ``fit_scaler(near_copies=...)`` where the user named no columns."""
    auto_scale: str = "auto"
    """What features.scale = auto means."""


SETS: Mapping[str, FeatureSet] = MappingProxyType(
    {
        # Chosen columns carry a meaning of their own even if they move together (DECISIONS.md),
        # but nobody chose the columns of a wide table that are all taken.
        "columns": FeatureSet(entities.plan, entities.build, entities.unsure, near_copies=True),
        "rfm": FeatureSet(rfm.plan, rfm.build, rfm.unsure, keys=("customer_id",)),
        "connections": FeatureSet(
            connections.plan,
            connections.build,
            connections.unsure,
            encoding="surprisal",
            near_copies=True,
        ),
        "hosts": FeatureSet(hosts.plan, hosts.build, hosts.unsure, keys=("src",), near_copies=True),
        # Lab distances are perceptual as they are.
        "pixels": FeatureSet(pixels.plan, pixels.build, pixels.unsure, auto_scale="none"),
    }
)

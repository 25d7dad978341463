"""Agglomeration as an estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sklearn.utils.validation import check_is_fitted

from segpipe.config import Config
from segpipe.estimators.fitting import Prepared
from segpipe.estimators.problems import ParameterError
from segpipe.estimators.segmenter import Segmenter
from segpipe.fit.agglomerative import LINKAGES, fit_agglomerative
from segpipe.fit.order import ordered
from segpipe.fit.select import Decision
from segpipe.models.merged import MergedModel
from segpipe.stages import learn
from segpipe.values import Floats


class Agglomerative(Segmenter):
    """Agglomeration: a tree of weighted micro-clusters, cut at k, merged back to all rows.

    Parameters
    ----------
    k : number of segments, or "auto"
    linkage : "ward", "average", "complete" or "single"; "auto" of ``k`` is decided as for Ward

    The others are those of ``KMeans``.
    """

    def __init__(
        self,
        k: int | str = "auto",
        *,
        linkage: str = "ward",
        k_max: int = 12,
        n_init: int = 10,
        min_share: float = 0.005,
        sample_rows: int = 200_000,
        columns: Sequence[str] | None = None,
        categorical: str | Sequence[str] = "auto",
        scale: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.k = k
        self.linkage = linkage
        self.k_max = k_max
        self.n_init = n_init
        self.min_share = min_share
        self.sample_rows = sample_rows
        self.columns = columns
        self.categorical = categorical
        self.scale = scale
        self.random_state = random_state

    def _fit_section(self) -> Mapping[str, Any]:
        names = ("k", "k_max", "n_init", "min_share")
        return {"model": "agglomerative", **{name: getattr(self, name) for name in names}}

    def _decide(self, given: Prepared, config: Config) -> Decision:
        if self.linkage not in LINKAGES:
            raise ParameterError(
                f"linkage is {self.linkage!r}.", f"use one of {', '.join(LINKAGES)}"
            )
        decision, seen = learn.choose(given.seen, config.fit, config.seed), given.seen
        if self.linkage == "ward" or decision.k < 2:
            return decision
        fitted = fit_agglomerative(seen.x, seen.w, decision.k, config.seed, linkage=self.linkage)
        model = ordered(replace(fitted, unit=seen.scaler.unit), seen.x, seen.w)
        why = f"{decision.why}; {self.linkage} linkage"
        # What the evidence says of the quality is Ward's, which chose k.
        evidence = {**decision.evidence, "linkage": self.linkage, "evidence_of": "ward"}
        return replace(decision, model=model, why=why, evidence=evidence)

    @property
    def linkage_matrix_(self) -> Floats | None:
        """(m - 1, 4) SciPy linkage of the m micro-clusters; None where there is one segment."""
        check_is_fitted(self)
        model = self.model_.model
        return model.height if isinstance(model, MergedModel) else None

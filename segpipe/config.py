"""The config: its sections as frozen pydantic models, and what goes with what.

Secrets have no place here: stores read them from the environment, so a config can be recorded as
it is. ``configfile`` reads it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """A group of keys; frozen, and closed to unknown ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Section):
    """Where the rows come from."""

    uri: str = Field(description="file, folder or glob; with format table: a catalogue name")
    format: Literal["parquet", "delta", "csv", "zeek", "image", "table"] = "parquet"
    columns: dict[str, str] = Field(default={}, description="our name: the source's name")
    where: str | None = Field(default=None, description="rows to read, an expression")
    options: dict[str, Any] = {}


class Rule(Section):
    """One row rule; a row passes where the expression is true or null, as in SQL CHECK."""

    name: str
    expr: str
    action: Literal["reject", "fail", "warn"] = "reject"


class Contract(Section):
    """What rows must fulfil to be used."""

    keys: list[str] | None = Field(
        default=None, description="null: customer_id for rfm, src for hosts, else none"
    )
    duplicates: Literal["fail", "reject", "keep"] = "fail"
    rules: list[Rule] = []
    max_reject_share: Annotated[float, Field(ge=0, le=1)] = 0.3

    @field_validator("rules")
    @classmethod
    def _distinct(cls, rules: list[Rule]) -> list[Rule]:
        names = [r.name for r in rules]
        if len(set(names)) < len(names):
            raise ValueError("two rules bear one name; rejected rows could not be counted apart")
        return rules


class Features(Section):
    """What describes an entity or a log row."""

    set: Literal["columns", "rfm", "connections", "hosts", "pixels"] = "columns"
    columns: list[str] | None = None
    categorical: Literal["auto", "none"] | list[str] = "auto"
    weight: str | None = Field(
        default=None, description="column of row weights: how many rows a row counts as in the fit"
    )
    scale: Literal["auto", "standard", "robust", "none"] = "auto"


class Fit(Section):
    """Which model, and how hard to look for it."""

    model: Literal["auto", "kmeans", "gmm", "bisecting", "agglomerative", "hdbscan", "dbscan"] = (
        "auto"
    )
    k: Literal["auto"] | Annotated[int, Field(ge=1, le=1000)] = "auto"
    k_max: Annotated[int, Field(ge=2, le=1000)] = 12
    library: Literal["native", "mllib", "dask-ml", "sklearn"] = "native"
    covariance: Literal["auto", "full", "tied", "diag", "spherical"] = "auto"
    n_init: Annotated[int, Field(ge=1, le=1000)] = 10
    sample_rows: Annotated[int, Field(ge=100)] = 200_000
    density_rows: Annotated[int, Field(ge=100, le=200_000)] = 20_000
    polish_passes: Annotated[int, Field(ge=0, le=100)] = 3
    min_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.005
    warm_start: str | None = Field(
        default=None, description="model folder whose centres to start from"
    )


class Threshold(Section):
    """Which rows are flagged: exactly one of the three."""

    contamination: Annotated[float, Field(gt=0, lt=1)] | None = None
    fdr: Annotated[float, Field(gt=0, lt=1)] | None = None
    top_n: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Threshold:
        given = [n for n in ("contamination", "fdr", "top_n") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of contamination, fdr, top_n; found {', '.join(given) or 'none'}"
            )
        return self


class Outliers(Section):
    """How unusual rows are scored and flagged."""

    method: Literal[
        "auto", "mass", "ensemble", "hdbscan", "dbscan", "isolation_forest", "segment", "none"
    ] = "auto"
    threshold: Threshold = Threshold(contamination=0.01)
    collapse: Literal["auto", "none", "bursts", "exact"] = "auto"
    mass: Annotated[float, Field(gt=0, lt=1)] = 0.05
    stratum: str | None = Field(
        default=None, description="column each of whose values has its own quantiles and threshold"
    )

    @model_validator(mode="after")
    def _per_stratum(self) -> Outliers:
        if self.stratum is not None and self.threshold.top_n is not None:
            raise ValueError("stratum goes with a threshold of contamination or fdr, not top_n")
        if self.stratum is not None and self.method == "none":
            raise ValueError("stratum needs a method that scores")
        return self


class Target(Section):
    """Where the labels go."""

    uri: str
    format: Literal["delta", "parquet"] = "delta"
    partition_by: list[str] = []
    mode: Literal["overwrite_partition"] = "overwrite_partition"
    keep: Literal["auto", "all", "features", "keys"] = "auto"


class Report(Section):
    """The HTML report."""

    naming: Literal["template"] = "template"
    min_group: Annotated[int, Field(ge=1)] = 20


class Dask(Section):
    """Which Dask cluster; neither address nor cluster: processes on this machine."""

    address: str | None = None
    cluster: str | None = Field(default=None, description="cluster class, 'module:Class'")
    options: dict[str, Any] = {}


class EngineConfig(Section):
    """Who does the work."""

    name: Literal["local", "dask", "spark"] = "local"
    memory: str | int = Field(default="auto", description="budget for kept rows: 2GiB, 512MiB, ...")
    io: Literal["auto", "arrow", "engine"] = "auto"
    spark: dict[str, str | int | float | bool] = {}
    dask: Dask = Dask()

    def arguments(self) -> dict[str, Any]:
        """What ``engines.open.open_engine`` takes."""
        return self.model_dump()


class Config(Section):
    """One run, complete."""

    job: str = "segpipe"
    source: Source
    contract: Contract = Contract()
    features: Features = Features()
    fit: Fit = Fit()
    outliers: Outliers = Outliers()
    target: Target
    report: Report = Report()
    engine: EngineConfig = EngineConfig()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _together(self) -> Config:
        home = {"mllib": "spark", "dask-ml": "dask", "sklearn": "local"}.get(self.fit.library)
        if home and home != self.engine.name:
            raise ValueError(
                f"fit.library {self.fit.library} needs engine.name {home}, found {self.engine.name}"
            )
        fits = {
            "mllib": {"auto", "kmeans", "gmm", "bisecting"},
            "dask-ml": {"auto", "kmeans"},
            "sklearn": {"auto", "kmeans", "gmm", "bisecting"},
        }.get(self.fit.library)
        if fits and self.fit.model not in fits:
            raise ValueError(
                f"fit.library {self.fit.library} has no {self.fit.model}; it fits "
                f"{', '.join(sorted(fits - {'auto'}))}; take library native"
            )
        if self.source.format == "image" and self.features.set != "pixels":
            raise ValueError("source.format image goes with features.set pixels")
        if self.features.set == "pixels":
            ignored = {
                "fit.library": self.fit.library != "native",
                "outliers.method": self.outliers.method not in ("auto", "none"),
                "features.scale": self.features.scale not in ("auto", "none"),
                "outliers.stratum": self.outliers.stratum is not None,
                "contract.rules": bool(self.contract.rules),
                "fit.warm_start": self.fit.warm_start is not None,
            }
            if named := [key for key, given in ignored.items() if given]:
                raise ValueError(f"features.set pixels has no use for {', '.join(named)}")
        if self.features.weight is not None:
            self._weighted(self.features.weight)
        cold = {"bisecting", "agglomerative", "hdbscan", "dbscan"} & {self.fit.model}
        if self.fit.warm_start is not None and (cold or self.fit.library != "native"):
            raise ValueError(
                "fit.warm_start starts kmeans and gmm of library native, found "
                f"model {self.fit.model}, library {self.fit.library}"
            )
        if self.source.format == "table" and self.engine.name != "spark":
            raise ValueError("source.format table names a catalogue table: engine.name spark only")
        return self

    def _weighted(self, weight: str) -> None:
        """Refuse a weight column where it has no meaning."""
        unit = {"rfm": "customer", "hosts": "host", "pixels": "colour"}.get(self.features.set)
        if unit:
            raise ValueError(
                f"features.weight {weight!r} weighs source rows, but features.set "
                f"{self.features.set} makes one row per {unit}; leave it out"
            )
        if self.fit.library != "native":
            raise ValueError(
                f"features.weight needs fit.library native; {self.fit.library} fits unweighted rows"
            )
        uses = {
            "contract.keys": self.contract.keys,
            "features.columns": self.features.columns,
            "features.categorical": self.features.categorical,
        }
        if doubled := [key for key, names in uses.items() if weight in (names or ())]:
            raise ValueError(f"features.weight {weight!r} is named in {', '.join(doubled)} too")

"""A frozen model as a fitted ``pyspark.ml`` pipeline: SQL makes the features, MLlib predicts.

No Python runs on the executors.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.errors import ConfigError
from segpipe.kernels.quantise import GRID, LIMIT
from segpipe.models.fitted import Fitted
from segpipe.models.inputs import Input
from segpipe.models.kmeans import KMeansModel
from segpipe.models.mixture import MixtureModel

FEATURES = "segpipe_features"
PREFIX = "segpipe_x"


def convert(fitted: Fitted, spark: Any) -> Any:
    """A ``PipelineModel`` that adds ``prediction`` (and for mixtures ``probability``).

    MLlib adds 2e-16 to every weighted density, so rows far from all components of a mixture may
    get another one than ours.

    Raises
    ------
    ConfigError
        ``spark`` is a Connect session, which cannot make models; categories enter; or MLlib has
        no such model.
    """
    model = fitted.model
    if not isinstance(model, KMeansModel | MixtureModel):
        raise ConfigError(
            f"MLlib has no model that labels rows as {model.kind} does.",
            "predict with the estimator: predict(df) stays lazy",
        )
    words = [i.name for i in fitted.scaler.inputs if i.kind != "number"]
    if words:
        raise ConfigError(
            f"to_mllib takes numbers; {words} enter as categories.", "use predict(df), or columns="
        )
    if not hasattr(spark, "_jvm") or spark._jvm is None:
        raise ConfigError(
            "to_mllib needs a classic Spark session: MLlib's models are made inside its JVM.",
            "over Spark Connect use predict(df), which stays lazy",
        )
    from pyspark.ml import PipelineModel
    from pyspark.ml.feature import SQLTransformer, VectorAssembler

    names = [f"{PREFIX}{i}" for i in range(fitted.scaler.width)]
    made = [f"{_sql(i)} AS {n}" for i, n in zip(fitted.scaler.inputs, names, strict=True)]
    first = SQLTransformer(statement=f"SELECT *, {', '.join(made)} FROM __THIS__")
    vector = VectorAssembler(inputCols=names, outputCol=FEATURES)
    dropped = ", ".join([*names, FEATURES])
    last = SQLTransformer(statement=f"SELECT * EXCEPT ({dropped}) FROM __THIS__")
    fit = _kmeans(model, spark) if isinstance(model, KMeansModel) else _mixture(model, spark)
    return PipelineModel([first, vector, fit, last])


def _sql(item: Input) -> str:
    """One feature: filled, scaled, clipped and rounded as ``kernels.quantise`` does."""
    cell = f"CAST(`{item.name.replace('`', '``')}` AS DOUBLE)"
    finite = f"{cell} IS NULL OR isnan({cell}) OR abs({cell}) = double('infinity')"
    value = f"IF({finite}, {_literal(item.fill)}, {cell})"
    if item.log:
        value = f"(signum({value}) * log1p(abs({value}) / {_literal(item.offset)}))"
    steps = f"({value} - {_literal(item.centre)}) * {_literal(GRID / item.scale)}"
    clipped = f"greatest(least({steps}, {_literal(LIMIT)}), {_literal(-LIMIT)})"
    return f"(rint({clipped}) / {_literal(GRID)})"


def _literal(value: float) -> str:
    return f"double('{float(value)!r}')"


def _kmeans(model: KMeansModel, spark: Any) -> Any:
    from pyspark.ml.clustering import KMeansModel as MLlibKMeans

    jvm, uid = spark._jvm, f"segpipe_kmeans_{model.k}"
    rows = spark.sparkContext._gateway.new_array(jvm.org.apache.spark.mllib.linalg.Vector, model.k)
    # Rows are compared with centres as float32.
    for i, centre in enumerate(model.centres.astype(np.float32).astype(np.float64)):
        rows[i] = jvm.org.apache.spark.mllib.linalg.Vectors.dense(_doubles(spark, centre))
    parent = jvm.org.apache.spark.mllib.clustering.KMeansModel(rows)
    made = MLlibKMeans(jvm.org.apache.spark.ml.clustering.KMeansModel(uid, parent))
    return made.setFeaturesCol(FEATURES)


def _mixture(model: MixtureModel, spark: Any) -> Any:
    from pyspark.ml.clustering import GaussianMixtureModel

    jvm, d = spark._jvm, model.means.shape[1]
    linalg = jvm.org.apache.spark.ml.linalg
    gaussian = jvm.org.apache.spark.ml.stat.distribution.MultivariateGaussian
    parts = spark.sparkContext._gateway.new_array(gaussian, model.k)
    for i, (mean, spread) in enumerate(zip(model.means, model.full_covariances(), strict=True)):
        matrix = linalg.Matrices.dense(d, d, _doubles(spark, spread.ravel()))
        parts[i] = gaussian(linalg.Vectors.dense(_doubles(spark, mean)), matrix)
    uid, weights = f"segpipe_gmm_{model.k}", _doubles(spark, model.weights)
    made = GaussianMixtureModel(
        jvm.org.apache.spark.ml.clustering.GaussianMixtureModel(uid, weights, parts)
    )
    return made.setFeaturesCol(FEATURES)


def _doubles(spark: Any, values: Any) -> Any:
    gateway = spark.sparkContext._gateway
    found = gateway.new_array(gateway.jvm.double, len(values))
    for i, value in enumerate(values):
        found[i] = float(value)
    return found

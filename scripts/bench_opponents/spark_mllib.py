"""MLlib with cached input and native BLAS: what its documentation asks for.

KMeans and GaussianMixture keep their defaults (k-means|| in 2 rounds, 20 iterations, tolerance
1e-4; mixture: 100 iterations, tolerance 0.01). ``blas`` tells which implementation its GEMMs ran
on: dev.ludovic.netlib.blas.JNIBLAS is native (Debian's libopenblas0), VectorBLAS and JavaxxBLAS run
in the JVM.
"""

from __future__ import annotations

from typing import Any

from contest import Task, clocked, compete


def prepare() -> Any:
    import spark_session
    from pyspark.ml import clustering, feature

    return spark_session.session(), clustering, feature


def work(task: Task, ready: Any) -> dict[str, Any]:
    spark, clustering, feature = ready
    table = spark.read.parquet(task.data)
    assembled = feature.VectorAssembler(inputCols=table.columns, outputCol="_raw").transform(table)
    scale = feature.StandardScaler(inputCol="_raw", outputCol="features", withMean=True)
    scaler = scale.fit(assembled)
    # Cached once, before the fit; the original columns too, so that writing reads nothing again.
    scaled = scaler.transform(assembled).drop("_raw").cache()
    scaled.count()
    kinds = {"kmeans": clustering.KMeans, "gmm": clustering.GaussianMixture}
    estimator = kinds[task.model](k=task.k, seed=task.seed, predictionCol="segment")
    told: dict[str, Any] = {"blas": _blas(spark)}
    with clocked(told, "fit"):
        fitted = estimator.fit(scaled)
    fitted.transform(scaled).select(*table.columns, "segment").write.parquet(task.out)
    told["steps"] = int(fitted.summary.numIter)
    if task.model == "gmm":
        found = fitted.gaussians
        told["mixture"] = {
            "weights": list(fitted.weights),
            "means": [g.mean.toArray().tolist() for g in found],
            "covariances": [g.cov.toArray().tolist() for g in found],
            "centre": scaler.mean.toArray().tolist(),
            "scale": scaler.std.toArray().tolist(),
        }
    return told


def _blas(spark: Any) -> str:
    # A Scala object that is private to Spark: its one instance is the field MODULE$.
    blas = getattr(getattr(spark._jvm.org.apache.spark.ml.linalg, "BLAS$"), "MODULE$")
    return str(blas.nativeBLAS().getClass().getName())


compete(prepare, work)

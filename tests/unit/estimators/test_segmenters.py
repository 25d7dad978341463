"""The estimators of segments: facts by hand, agreement with the libraries, ways in and out."""

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sklearn.cluster
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import segpipe
from segpipe.errors import ConfigError, DataError
from segpipe.estimators import load
from segpipe.models.fitted import Fitted

NUMBERS = ["a", "b", "c"]


def same_partition(a, b):
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


def test_four_points_by_hand():
    # scikit-learn's test_kmeans_results: centres at the middles, four squared distances of 1/16.
    x = [[0, 0], [0.5, 0], [0.5, 1], [1, 1]]
    fitted = segpipe.KMeans(k=2, scale="none").fit(x)
    assert fitted.labels_.tolist() == [0, 0, 1, 1]
    assert fitted.cluster_centers_.tolist() == [[0.25, 0], [0.75, 1]]
    assert fitted.inertia_ == pytest.approx(0.25)
    assert fitted.n_features_in_ == 2 and fitted.n_clusters_ == 2
    far = fitted.transform([[0.25, 3.0]])
    assert far == pytest.approx(np.array([[3.0, np.hypot(0.5, 2)]]))
    assert fitted.score([[0.25, 3.0]]) == pytest.approx(-4.25)
    assert fitted.distance([[0.75, 0.5]]) == pytest.approx([0.5])
    assert isinstance(fitted.model_, Fitted) and fitted.why_.startswith("kmeans with k = 2")


def test_weights_count_as_rows():
    x = np.array([[0.0, 0], [1, 0], [10, 0], [10, 1]])
    heavy = segpipe.KMeans(k=2, scale="none").fit(x, sample_weight=[3, 1, 0, 1])
    repeated = segpipe.KMeans(k=2, scale="none").fit(x[[0, 0, 0, 1, 3]])
    # the first centre lies at (3 * 0 + 1) / 4; inertia 3 / 16 + 9 / 16; the row of weight 0 is not
    # in the fit, but has a label
    # to the grid that rows are rounded to, 4e-6 here
    assert heavy.cluster_centers_ == pytest.approx(np.array([[0.25, 0], [10, 1]]), abs=1e-5)
    assert repeated.cluster_centers_ == pytest.approx(heavy.cluster_centers_, abs=1e-6)
    assert heavy.inertia_ == pytest.approx(0.75, abs=1e-4)
    assert repeated.inertia_ == pytest.approx(heavy.inertia_)
    assert heavy.labels_.tolist() == [0, 0, 1, 1]


def test_gaussians_have_weights_means_and_covariances_in_original_units():
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.normal([0, 0], [1, 3], (600, 2)), rng.normal([100, 10], [5, 1], (200, 2))]
    )
    fitted = segpipe.GaussianMixture(k=2, covariance="full", scale="standard").fit(x)
    assert fitted.weights_ == pytest.approx([0.75, 0.25])
    for part, mean, spread in zip(
        (x[:600], x[600:]), fitted.means_, fitted.covariances_, strict=True
    ):
        assert mean == pytest.approx(part.mean(axis=0), abs=1e-3)
        # scikit-learn's floor on variances, 1e-6 in scaled units, is all that is added
        assert spread == pytest.approx(np.cov(part.T, ddof=0), rel=1e-3, abs=1e-2)
    assert fitted.covariance_type_ == "full"
    proba = fitted.predict_proba(x)
    assert proba.sum(axis=1) == pytest.approx(1) and (proba.argmax(1) == fitted.labels_).all()
    assert proba.max(axis=1) == pytest.approx(fitted.confidence(x))
    assert fitted.score(x) == pytest.approx(fitted.score_samples(x).mean())


def test_logarithms_have_no_covariance_in_original_units():
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(0, 2, (300, 1)))
    fitted = segpipe.GaussianMixture(k=2).fit(x)
    with pytest.raises(ConfigError, match="logarithms"):
        _ = fitted.covariances_
    assert fitted.means_.shape == (2, 1) and (fitted.means_ > 0).all()


def test_dbscan_with_settings_is_scikit_learns():
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(c, 0.3, (150, 2)) for c in ([0, 0], [4, 0], [2, 3])])
    x = np.concatenate([x, x[:40], rng.uniform(-2, 6, (60, 2))])  # some rows occur twice
    theirs = sklearn.cluster.DBSCAN(eps=0.25, min_samples=8).fit(x)
    ours = segpipe.DBSCAN(eps=0.25, min_samples=8, min_share=0, scale="none").fit(x)
    cores = theirs.core_sample_indices_
    assert ours.core_sample_indices_.tolist() == cores.tolist()
    assert same_partition(ours.labels_[cores], theirs.labels_[cores])
    # border rows may touch two clusters: theirs takes the first found, ours the nearest core
    assert ((ours.labels_ < 0) == (theirs.labels_ < 0)).all()
    assert len(ours.components_) == len(np.unique(x[cores], axis=0))
    assert ours.found_["eps"] == pytest.approx(0.25)


def test_hdbscan_with_settings_is_the_librarys():
    library = pytest.importorskip("hdbscan")
    rng = np.random.default_rng(6)
    x = np.concatenate([rng.normal(c, 0.3, (120, 2)) for c in ([0, 0], [4, 0], [2, 3])])
    theirs = library.HDBSCAN(min_cluster_size=30, min_samples=7).fit(x)
    ours = segpipe.HDBSCAN(min_cluster_size=30, min_samples=7, scale="none").fit(x)
    both = (theirs.labels_ >= 0) & (ours.labels_ >= 0)
    assert same_partition(ours.labels_[both], theirs.labels_[both])
    assert ((ours.labels_ >= 0) == (theirs.labels_ >= 0)).mean() > 0.97
    assert ours.found_["min_cluster_size"] == 30 and ours.found_["min_samples"] == 7
    assert ((ours.probabilities_ > 0) == (ours.labels_ >= 0)).all()


def test_a_thinned_sample_refuses_a_min_samples_that_it_cannot_count():
    x = np.random.default_rng(0).normal(0, 1, (2000, 2))
    with pytest.raises(ValueError, match="raise density_rows"):
        segpipe.DBSCAN(eps=0.1, min_samples=5, density_rows=500).fit(x)
    assert segpipe.DBSCAN(eps=0.8, min_samples=40, density_rows=500).fit(x).n_clusters_ == 1


def test_auto_says_what_it_chose_and_why(table):
    fitted = segpipe.AutoCluster(columns=NUMBERS, n_init=3).fit(table)
    assert adjusted_rand_score(table.id // 100, fitted.labels_) > 0.95
    assert fitted.n_clusters_ == 4 and fitted.natural_segments_
    assert fitted.decision_["chosen"]["kind"] == fitted.kind_
    assert fitted.decision_["why"] == fitted.why_


def test_no_natural_segments_is_an_answer():
    x = np.random.default_rng(1).normal(0, 1, (500, 3))
    fitted = segpipe.AutoCluster().fit(x)
    assert fitted.n_clusters_ == 1 and not fitted.natural_segments_
    one = segpipe.GaussianMixture(covariance="full", scale="none").fit(x)
    assert one.n_clusters_ == 1 and one.means_[0] == pytest.approx(x.mean(axis=0), abs=1e-4)
    assert one.covariances_[0] == pytest.approx(np.cov(x.T, ddof=0), rel=1e-2, abs=1e-2)


def test_agglomeration_keeps_its_tree(table):
    fitted = segpipe.Agglomerative(k=4, columns=NUMBERS).fit(table)
    assert adjusted_rand_score(table.id // 100, fitted.labels_) > 0.95
    tree = fitted.linkage_matrix_
    assert tree.shape[1] == 4 and tree[-1, 3] == pytest.approx(400)
    # two rows of points, the longer one a chain that only single linkage follows
    chain = [[i, 0.0] for i in range(40)] + [[i, 3.0] for i in range(6)]
    single = segpipe.Agglomerative(k=2, linkage="single", scale="none").fit(chain)
    assert np.bincount(single.labels_).tolist() in ([40, 6], [6, 40])
    assert single.why_.endswith("single linkage")
    with pytest.raises(ValueError, match="linkage is 'median'"):
        segpipe.Agglomerative(k=2, linkage="median").fit(chain)


ESTIMATORS = [
    segpipe.KMeans(k=4, n_init=3),
    segpipe.GaussianMixture(k=4, n_init=3),
    segpipe.DBSCAN(),
    segpipe.OutlierScorer(),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_equal_rows_give_one_model_whatever_holds_them(estimator, table):
    names = [*NUMBERS, "kind"]
    first = clone(estimator).set_params(columns=names).fit(table)
    said = first.predict(table)
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    shuffled = table.sample(frac=1, random_state=9)
    others = {
        "polars": pl.from_pandas(table),
        "polars lazy": pl.from_pandas(table).lazy(),
        "arrow": arrow,
        "batch": arrow.combine_chunks().to_batches()[0],
        "reader": arrow.to_reader(max_chunksize=33),
        "other dtypes": table.astype({"kind": "category", "site": "int64"}),
        "shuffled": shuffled,
    }
    for kind, other in others.items():
        found = clone(first).fit(other)
        assert found.model_.model_id == first.model_.model_id, kind
        assert (found.predict(table) == said).all(), kind
        if kind not in ("reader", "shuffled"):  # a reader is used up
            assert (first.predict(other) == said).all(), kind
    assert (first.predict(shuffled) == said[shuffled.index]).all()


def test_arrays_and_tables_of_the_same_numbers_label_alike(table):
    numbers = table[NUMBERS]
    named = segpipe.KMeans(k=4).fit(numbers)
    array = segpipe.KMeans(k=4).fit(numbers.to_numpy())
    assert (named.labels_ == array.labels_).all()
    assert named.feature_names_in_.tolist() == NUMBERS
    assert not hasattr(array, "feature_names_in_")
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert (named.predict(numbers.to_numpy()) == named.labels_).all()
    numbered = segpipe.KMeans(k=4).fit(pd.DataFrame(numbers.to_numpy()))
    assert (numbered.labels_ == named.labels_).all()


def test_the_batches_of_a_long_table_do_not_matter():
    x = np.random.default_rng(2).normal(0, 1, (70_000, 2))
    fitted = segpipe.KMeans(k=3, n_init=2).fit(x)
    assert (fitted.predict(x[65_000:66_000]) == fitted.labels_[65_000:66_000]).all()


def test_missing_values_count_as_the_median_and_constants_are_named(table):
    fitted = segpipe.KMeans(k=4).fit(table[[*NUMBERS, "site"]])
    assert any("site is left out" in note for note in fitted.notes_)
    assert any("of b are filled" in note for note in fitted.notes_)
    assert fitted.cluster_centers_[:, 3].tolist() == [7.0] * 4
    filled = table.assign(b=table.b.fillna(fitted.model_.scaler.inputs[1].fill))
    assert (fitted.predict(filled[[*NUMBERS, "site"]]) == fitted.labels_).all()
    infinite = table.assign(b=table.b.fillna(np.inf))
    assert (fitted.predict(infinite[[*NUMBERS, "site"]]) == fitted.labels_).all()


def test_text_that_reads_as_numbers_is_numbers_and_else_missing(table):
    numbers = table[["a", "b"]]
    fitted = segpipe.KMeans(k=3).fit(numbers)
    text = numbers.astype({"a": str})
    assert (segpipe.KMeans(k=3).fit(text).labels_ == fitted.labels_).all()
    odd, gone = text.copy(), numbers.copy()
    odd.loc[5, "a"], gone.loc[5, "a"] = "much", np.nan
    assert (fitted.predict(odd) == fitted.predict(gone)).all()


def test_centres_of_categories_are_levels(table):
    fitted = segpipe.KMeans(k=4, columns=["a", "b", "c", "kind"]).fit(table)
    assert fitted.cluster_centers_.dtype == object
    assert set(fitted.cluster_centers_[:, 3]) <= {"x", "y"}


def test_saved_and_loaded_without_pickle(table, tmp_path):
    fitted = segpipe.KMeans(k=4, columns=[*NUMBERS, "kind"]).fit(table)
    place = fitted.save(str(tmp_path / "model"))
    assert sorted(p.suffix for p in (tmp_path / "model").iterdir()) == [".json", ".npz"]
    back = load(place)
    assert type(back) is segpipe.KMeans and back.get_params() == fitted.get_params()
    assert (back.predict(table) == fitted.labels_).all()
    assert back.inertia_ == fitted.inertia_ and back.why_ == fitted.why_
    assert back.decision_ == fitted.decision_
    assert segpipe.KMeans.load(place).n_features_in_ == 4
    with pytest.raises(ValueError, match="holds a KMeans"):
        segpipe.DBSCAN.load(place)


def test_it_stands_at_the_end_of_a_pipeline_and_names_its_columns(table):
    flow = make_pipeline(FunctionTransformer(), segpipe.KMeans(k=3)).fit(table[NUMBERS])
    flow.set_output(transform="pandas")
    out = flow.transform(table[NUMBERS])
    assert list(out.columns) == ["kmeans0", "kmeans1", "kmeans2"]
    assert (out.to_numpy().argmin(axis=1) == flow.predict(table[NUMBERS])).all()


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (segpipe.KMeans(k=0), "fit.k"),
        (segpipe.KMeans(n_init=0), "fit.n_init"),
        (segpipe.KMeans(scale="zscore"), "features.scale"),
        (segpipe.KMeans(random_state=None), "a seed"),
        (segpipe.KMeans(random_state=-1), "seed"),
        (segpipe.KMeans(columns=["a"]), "an array has none"),
        (segpipe.DBSCAN(eps=0), "eps is 0"),
        (segpipe.DBSCAN(min_samples=2.5), "min_samples is 2.5"),
        (segpipe.HDBSCAN(min_cluster_size=1), "whole number from 2"),
        (segpipe.GaussianMixture(covariance="round"), "fit.covariance"),
        (segpipe.OutlierScorer(method="none"), "scores nothing"),
        (segpipe.OutlierScorer(contamination=0.1, top_n=5), "exactly one"),
    ],
    ids=str,
)
def test_parameters_are_checked_in_fit_by_name(estimator, said):
    with pytest.raises(ValueError, match=said) as caught:
        estimator.fit(np.random.default_rng(0).normal(size=(30, 2)))
    assert isinstance(caught.value, ConfigError)


def test_data_are_refused_with_what_was_found(table):
    fitted = segpipe.KMeans(k=2, columns=["a", "b"]).fit(table)
    with pytest.raises(ValueError, match=r"\['b'\] are asked for"):
        fitted.predict(table[["a"]])
    with pytest.raises(ValueError, match="12 segments were asked for") as caught:
        segpipe.KMeans(k=12).fit(table[["a"]].iloc[:5])
    assert isinstance(caught.value, DataError)
    with pytest.raises(ValueError, match="date32"):
        fitted.predict(pl.from_pandas(table).with_columns(a=pl.lit("2026-01-01").str.to_date()))
    with pytest.raises(ValueError, match="timestamp"):
        segpipe.KMeans(k=2).fit(table.assign(day=pd.Timestamp("2026-01-01")))
    with pytest.raises(ValueError, match="no column is left"):
        segpipe.KMeans(k=2).fit(np.ones((5, 2)))


def test_importing_segpipe_loads_none_of_it():
    code = (
        "import sys, segpipe\n"
        "heavy = {'sklearn','pandas','numba','pyspark','dask','numpy','pyarrow','polars'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "assert set(segpipe.__all__) >= {'KMeans', 'OutlierScorer'}\n"
        "segpipe.KMeans\nprint(sorted({'pyspark','dask','pandas','hdbscan'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)  # noqa: PLW1510
    first, second = done.stdout.splitlines()
    assert first == "[]" and "pyspark" not in second and "dask" not in second, done.stdout

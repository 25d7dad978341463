"""``to_sklearn``: the same labels from raw features, without segpipe."""

import pickle
import subprocess
import sys

import pytest
import sklearn.cluster
from sklearn.base import clone

import segpipe

NUMBERS = ["a", "b", "c"]
SCALES = ("standard", "robust", "none")
MODELS = [
    *(segpipe.KMeans(k=4, n_init=3, scale=scale) for scale in SCALES),
    *(
        segpipe.GaussianMixture(k=4, n_init=3, covariance=kind, scale="standard")
        for kind in ("full", "tied", "diag", "spherical")
    ),
    segpipe.Agglomerative(k=4, scale="standard"),
]


@pytest.mark.parametrize("estimator", MODELS, ids=str)
def test_to_sklearn_predicts_the_same_from_raw_features(estimator, table):
    x = table[[*NUMBERS, "site"]].to_numpy()
    if estimator.scale != "none":
        x[3, 0] = 1e7  # beyond the clip
    fitted = clone(estimator).fit(x)
    theirs = pickle.loads(pickle.dumps(fitted.to_sklearn()))
    assert (theirs.predict(x) == fitted.labels_).all()
    if isinstance(estimator, segpipe.GaussianMixture):
        assert theirs.predict_proba(x) == pytest.approx(fitted.predict_proba(x), abs=1e-6)
        assert theirs.score_samples(x) == pytest.approx(fitted.score_samples(x), rel=1e-6)
    elif isinstance(estimator, segpipe.KMeans):
        assert type(theirs[-1]) is sklearn.cluster.KMeans
        unit = fitted.model_.scaler.unit
        assert theirs.transform(x) * unit == pytest.approx(fitted.transform(x), rel=1e-4, abs=1e-4)


def test_to_sklearn_knows_names_and_needs_no_segpipe(table, tmp_path):
    fitted = segpipe.KMeans(k=4, scale="standard").fit(table[NUMBERS])
    theirs = fitted.to_sklearn()
    assert (theirs.predict(table[NUMBERS]) == fitted.labels_).all()
    (tmp_path / "model").write_bytes(pickle.dumps(theirs))
    code = (
        "import pickle, pathlib, sys\n"
        f"m = pickle.loads(pathlib.Path({str(tmp_path / 'model')!r}).read_bytes())\n"
        "m.feature_names_in_\nprint([n for n in sys.modules if n.startswith('segpipe')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)  # noqa: PLW1510
    assert done.stdout.strip() == "[]", done.stderr


def test_what_scikit_learn_cannot_say_is_refused(table):
    with pytest.raises(ValueError, match="cannot label new rows"):
        segpipe.DBSCAN(columns=NUMBERS).fit(table).to_sklearn()
    with pytest.raises(ValueError, match="'kind'"):
        segpipe.KMeans(k=3, columns=["a", "kind"]).fit(table).to_sklearn()

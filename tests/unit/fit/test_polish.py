"""Exact passes through the local engine: a sample's model becomes that of all rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from segpipe.engines.local import LocalEngine
from segpipe.fit.kmeans import fit_kmeans
from segpipe.fit.mixture import fit_mixture, total_log_likelihood
from segpipe.fit.polish import exact_inertia, polish
from segpipe.models.kmeans import KMeansModel
from segpipe.models.merged import merged
from segpipe.values import Weighing
from tests.unit.fit.blobs import blobs, block

X, Y = blobs([[0, 0], [3, 0], [0, 3]], [700, 500, 300], 0.9)
ONE = np.ones(1500)


@dataclass(frozen=True)
class Plain:
    """Columns as they are: the scaler of rows that are scaled already."""

    width: int = 2

    def transform(self, batch):
        columns = [batch.column(f"f{j}").to_numpy(zero_copy_only=False) for j in range(self.width)]
        return np.ascontiguousarray(np.array(columns, np.float32).reshape(self.width, -1))


@pytest.fixture(scope="module")
def engine():
    with LocalEngine(workers=2) as opened:
        yield opened


def frame(engine, x=X, parts=1, w=None, order=None):
    rows = np.arange(x.shape[1]) if order is None else order
    weight = np.ones(x.shape[1]) if w is None else w
    names = [*(f"f{j}" for j in range(x.shape[0])), "w"]
    batches = [
        pa.record_batch([*(pa.array(line[part]) for line in x), pa.array(weight[part])], names)
        for part in np.array_split(rows, parts)
    ]
    return engine.from_batches(batches, batches[0].schema)


def test_four_points(engine):
    x = block([[0, 0], [0.5, 0], [0.5, 1], [1, 1]])
    start = KMeansModel(np.array([[0.0, 0], [1, 1]]))
    done = polish(engine, frame(engine, x), Plain(), start, 5)
    assert done.model.centres.tolist() == [[0.25, 0], [0.75, 1]]
    assert done.history == (0.5, 0.25) and (done.inertia, done.weight) == (0.25, 4)
    only = polish(engine, frame(engine, x), Plain(), start, 1)
    assert only.model is start and only.inertia == 0.5
    weighted = polish(
        engine,
        frame(engine, x, w=np.array([3.0, 1, 1, 1])),
        Plain(),
        start,
        5,
        weight=Weighing("w"),
    )
    assert weighted.model.centres.tolist() == [[0.125, 0], [0.75, 1]]
    assert weighted.weight == 6


def test_a_converged_model_of_all_rows_is_measured_once(engine):
    model = fit_kmeans(X, ONE, 3)
    done = polish(engine, frame(engine, parts=4), Plain(), model, 3)
    assert done.model is model and len(done.history) == 1
    assert done.inertia == model.inertia(X, ONE)


@pytest.mark.parametrize("kind", ["kmeans", "full", "tied", "diag", "spherical"])
def test_order_and_parts_change_no_bit(engine, kind):
    few = np.ascontiguousarray(X[:, :150])
    start = (
        fit_kmeans(few, ONE[:150], 3) if kind == "kmeans" else fit_mixture(few, ONE[:150], 3, kind)
    )
    order = np.random.default_rng(0).permutation(1500)
    answers = []
    for parts, rows in ((1, None), (4, order), (13, order[::-1])):
        shuffled = frame(engine, parts=parts, order=rows)
        answers.append(polish(engine, shuffled, Plain(), start, 4))
    for other in answers[1:]:
        assert other.history == answers[0].history and other.inertia == answers[0].inertia
        assert np.array_equal(other.model.centres, answers[0].model.centres)
    gains = np.diff(answers[0].history)
    assert len(gains) > 0 and ((gains < 0) if kind == "kmeans" else (gains > 0)).all()


def test_a_samples_mixture_reaches_the_likelihood_of_all_rows(engine):
    few = np.ascontiguousarray(X[:, :200])
    start = fit_mixture(few, ONE[:200], 3, "full")
    done = polish(engine, frame(engine, parts=3), Plain(), start, 50, tol=1e-6)
    best = total_log_likelihood(fit_mixture(X, ONE, 3, "full"), X, ONE) / 1500
    assert done.history[-1] == pytest.approx(best, abs=1e-3)
    assert done.history[-1] == pytest.approx(
        total_log_likelihood(done.model, X, ONE) / 1500, abs=1e-9
    )


def test_other_models_are_measured_and_not_moved(engine):
    model = merged(np.array([[0.0, 0], [3, 0], [0, 3]]), np.ones(3), np.array([0, 1, 1], np.int32))
    done = polish(engine, frame(engine, parts=2), Plain(), model, 3)
    label, centres = model.label(X).segment, model.centres
    expected = np.square(X.T.astype(float) - centres[label]).sum()
    assert done.model is model and done.inertia == pytest.approx(expected)
    assert exact_inertia(engine, frame(engine), Plain(), model) == done.inertia


def test_no_rows(engine):
    model = fit_kmeans(X, ONE, 3)
    empty = frame(engine, X[:, :0])
    assert polish(engine, empty, Plain(), model, 3).inertia == 0
    mixture = fit_mixture(X, ONE, 2, "diag")
    assert polish(engine, empty, Plain(), mixture, 3).model is mixture

"""scikit-learn's own checks of estimators, all of them."""

import os
import subprocess
import sys

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import segpipe

SMALL = {"k_max": 4, "n_init": 2}
ESTIMATORS = [
    segpipe.KMeans(**SMALL),
    segpipe.GaussianMixture(**SMALL),
    segpipe.AutoCluster(**SMALL),
    segpipe.Agglomerative(**SMALL),
    segpipe.DBSCAN(),
    segpipe.HDBSCAN(),
    segpipe.OutlierScorer(),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
def test_array_api_dispatch_changes_nothing():
    """SciPy reads the variable when it is imported: the check above skips without it."""
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-m", "pytest", "-q", "-k", "check_array_api_input", __file__],
        capture_output=True,
        text=True,
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{len(ESTIMATORS)} passed" in done.stdout

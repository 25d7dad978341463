import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from segpipe.errors import ConfigError
from segpipe.fit import mixture as fit
from segpipe.fit.mixture import Run, expected_gain, fit_mixture, maximise, total_log_likelihood
from segpipe.models.mixture import COVARIANCES, MixtureModel
from tests.unit.fit.blobs import blobs, block

RNG = np.random.default_rng(4)
TWO = RNG.normal(size=(800, 2))
TWO[400:, 0] += 4
BANDS = block(TWO @ [[1, 0.9], [0, 0.3]])
ONE = np.ones(800)


def test_one_component_is_the_sample_mean_and_covariance():
    model = fit_mixture(BANDS, ONE, 1, "full")
    rows = BANDS.astype(float)
    assert model.means[0] == pytest.approx(rows.mean(axis=1), abs=1e-6)
    assert model.covariances[0] == pytest.approx(np.cov(rows, ddof=0) + 1e-6 * np.eye(2), abs=1e-6)


@pytest.mark.parametrize("kind", COVARIANCES)
@pytest.mark.parametrize("k", [2, 4])
def test_likelihood_is_scikit_learns_best_of_ten(kind, k):
    theirs = GaussianMixture(k, covariance_type=kind, n_init=10, random_state=0).fit(BANDS.T)
    ours = fit_mixture(BANDS, ONE, k, kind)
    assert total_log_likelihood(ours, BANDS, ONE) / 800 >= theirs.score(BANDS.T) - 0.02


def test_auto_takes_the_type_of_the_best_bic():
    balls, _ = blobs([[0, 0], [5, 5]], [300, 300], 0.5)
    assert fit_mixture(balls, np.ones(600), 2).covariance_type == "spherical"
    assert fit_mixture(BANDS, ONE, 2).covariance_type in ("tied", "full")


def test_threads_and_parts_change_nothing(monkeypatch):
    alone = fit_mixture(BANDS, ONE, 3, "full")
    monkeypatch.setattr(fit, "PART", 100)
    parts = fit_mixture(BANDS, ONE, 3, "full")
    assert np.array_equal(alone.covariances, parts.covariances)
    assert np.array_equal(alone.means, parts.means)


@pytest.mark.parametrize("kind", COVARIANCES)
def test_a_step_gains_at_least_what_is_expected_of_it(kind):
    model = fit_mixture(BANDS, ONE, 3, kind, n_init=1, init=RNG.normal(size=(3, 2)))
    rough = model.reordered(np.arange(3))
    object.__setattr__(rough, "means", rough.means + 0.3)
    sums = fit.em_sums(rough, BANDS, ONE)
    better = maximise(rough, sums)
    gain = (total_log_likelihood(better, BANDS, ONE) - sums.log_likelihood) / 800
    assert 0 < expected_gain(rough, better, sums) <= gain + 1e-6


def test_identical_rows_beside_others_do_not_break_it():
    x = block(np.r_[np.zeros((300, 2)), RNG.normal(size=(300, 2)) + 5])
    model = fit_mixture(x, np.ones(600), 4, "full")
    assert np.isfinite(model.log_density(x)).all()


def test_unknown_covariance():
    with pytest.raises(ConfigError, match="unknown"):
        fit_mixture(BANDS, ONE, 2, "banded")


@pytest.mark.parametrize("kind", COVARIANCES)
def test_steps_from_the_same_start_reach_scikit_learns_likelihood(kind):
    theirs = GaussianMixture(3, covariance_type=kind, init_params="random_from_data",
                             reg_covar=fit.REG_COVAR, max_iter=1, random_state=1)  # fmt: skip
    rows = BANDS.T.astype(np.float64)
    with pytest.warns(UserWarning, match="did not converge"):
        theirs.fit(rows)
    model = MixtureModel(theirs.weights_, theirs.means_, theirs.covariances_, kind)
    for _ in range(20):
        sums = fit.em_sums(model, BANDS, ONE)
        level, share = theirs._e_step(rows)
        assert sums.log_likelihood / 800 == pytest.approx(level, rel=1e-6)
        theirs._m_step(rows, share)
        model = maximise(model, sums)
    assert model.means == pytest.approx(theirs.means_, rel=1e-4, abs=1e-4)


def two(width, share=0.5, shift=0.0):
    """Two components at the same place but for ``shift``, of different widths."""
    shapes = np.stack([np.eye(2), width * np.eye(2)])
    return MixtureModel(np.array([share, 1 - share]), np.array([[0.0, 0], [shift, 0]]), shapes)


def test_finalists_are_the_likeliest_of_different_optima():
    turned = two(4.0, shift=0.01).reordered(np.array([1, 0]))
    runs = [
        Run(model, level)
        for model, level in (
            (two(4.0), -2.06),
            (turned, -2.0),
            (two(9.0), -2.05),
            (two(4.0, shift=1.0), -2.2),
        )
    ]
    kept = fit._finalists(runs)
    assert kept[0] is runs[0]  # the K-Means partition's run stands for its optimum
    assert [float(run.model.covariances[1, 0, 0]) for run in kept[1:]] == [9.0]
    many = [Run(two(float(i**2)), -i / 1000) for i in range(1, 9)]
    widths = [float(run.model.covariances[1, 0, 0]) for run in fit._finalists(many)]
    assert widths == [1.0, 4.0, 9.0]


def test_the_k_means_run_yields_only_to_a_clear_gain():
    first, other = two(4.0), two(9.0)
    assert fit._chosen([Run(first, -2.0), Run(other, -1.99)]).model is first
    assert fit._chosen([Run(first, -2.0), Run(other, -1.98)]).model is other


def test_a_component_that_shrank_onto_few_rows_wins_against_none_that_did_not():
    sound, thin = two(4.0), two(1e-6)
    runs = [Run(thin, 3.0), Run(sound, -2.0)]
    assert fit._chosen(runs).model is sound
    assert fit._finalists(runs) == [runs[1]]
    assert fit._chosen(runs[:1]).model is thin


@pytest.mark.parametrize(("shift", "kept"), [(0.1, True), (5.9, False)])
def test_em_that_ends_under_another_component_is_taken_where_it_slowed_down(
    monkeypatch, shift, kept
):
    early, late = two(4.0, shift=6.0), two(4.0, shift=shift)
    monkeypatch.setattr(fit, "_run", lambda *given: Run(given[2], 0.0))
    x = block(np.r_[RNG.normal(size=(300, 2)), RNG.normal(size=(300, 2)) * 2 + [6, 0]])
    found = fit._ended(x, np.ones(600), Run(late, -1.0, early))
    assert (found.model, found.tol) == ((early, fit.SLOW) if kept else (late, fit.TOL))


def test_types_far_behind_in_bic_do_not_go_on():
    full, tied = two(4.0), MixtureModel(np.full(2, 0.5), np.zeros((2, 2)), np.eye(2), "tied")
    # 11 and 8 parameters; of 1000 rows fitted and 1000 in all each costs (log(1000) / 2 + 1) / 1000
    lead = 3 * (0.5 * np.log(1000) + 1) / 1000
    runs = {"full": [Run(full, -5.0), Run(full, -2.0)], "tied": [Run(tied, -2.4 - lead)]}
    assert fit._contenders(runs, 1000, 1000.0, 0.5) == ["full", "tied"]
    assert fit._contenders(runs, 1000, 1000.0, 0.39) == ["full"]
    runs["tied"] = [Run(tied, -1.0)]
    assert fit._contenders(runs, 1000, 1000.0, 0.5) == ["tied"]

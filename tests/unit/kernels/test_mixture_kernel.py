"""Densities against a direct formula; EM sums exact in any order."""

import numpy as np
import pytest

from segpipe.kernels import mixture as kernel
from segpipe.models.mixture import MixtureModel


def model(kind="full", k=3, d=4, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(k, d, d))
    full = a @ a.swapaxes(1, 2) / d + 0.2 * np.eye(d)
    shape = {
        "full": full,
        "tied": full[0],
        "diag": np.diagonal(full, axis1=1, axis2=2).copy(),
        "spherical": full[:, 0, 0].copy(),
    }[kind]
    return MixtureModel(np.array([0.5, 0.3, 0.2]), rng.normal(size=(k, d)), shape, kind)


def rows(n=1000, d=4, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(d, n)).astype(np.float32), rng.uniform(0.5, 2, n)


def log_joint(m, x):
    out = []
    for share, mean, cov in zip(m.weights, m.means, m.full_covariances(), strict=True):
        z = x.T.astype(float) - mean
        q = np.einsum("ni,ij,nj->n", z, np.linalg.inv(cov), z)
        det = np.linalg.slogdet(2 * np.pi * cov)[1]
        out.append(np.log(share) - 0.5 * (q + det))
    return np.array(out)


def test_posterior_and_density_by_formula():
    x, _ = rows()
    for kind in ("full", "tied", "diag", "spherical"):
        m = model(kind)
        joint = log_joint(m, x)
        density = np.logaddexp.reduce(joint)
        label, p, found = kernel.posterior(x, *m.factors()[:1], m.means, m.factors()[1], m.diagonal)
        assert np.allclose(found, density, atol=1e-10)
        assert np.array_equal(label, joint.argmax(axis=0))
        assert np.allclose(p, np.exp(joint.max(axis=0) - density), atol=1e-10)


def test_em_sums_by_formula():
    x, w = rows()
    m = model()
    const, factor = m.factors()
    sums = kernel.em_sums(x, w, const, m.means, factor, False)
    joint = log_joint(m, x)
    r = w * np.exp(joint - np.logaddexp.reduce(joint))
    z = x.T.astype(float)[None] - m.means[:, None]
    assert np.allclose(sums.count, r.sum(axis=1), atol=1e-4)
    assert np.allclose(sums.linear, np.einsum("kn,knd->kd", r, z), atol=1e-4)
    lower = np.tril(np.einsum("kn,kni,knj->kij", r, z, z))
    assert np.allclose(np.tril(sums.quadratic), lower, atol=1e-4)
    assert np.isclose(sums.log_likelihood, (w * np.logaddexp.reduce(joint)).sum())
    assert np.isclose(sums.weight, w.sum())


def test_em_sums_do_not_depend_on_order_or_parts():
    x, w = rows(2000)
    m = model()
    args = (m.factors()[0], m.means, m.factors()[1], False)
    whole = kernel.em_sums(x, w, *args)
    order = np.random.default_rng(5).permutation(2000)
    parts = [
        kernel.em_sums(np.ascontiguousarray(x[:, p]), w[p], *args) for p in np.array_split(order, 7)
    ]
    total = parts[3]
    for i in (6, 0, 1, 5, 4, 2):
        total = parts[i] + total
    assert np.array_equal(total.quadratic, whole.quadratic)
    assert np.array_equal(total.linear, whole.linear)
    assert np.array_equal(total.count, whole.count)
    assert total.log_likelihood == whole.log_likelihood


def test_a_step_is_the_sums_and_the_labels_of_one_e_step():
    x, w = rows(700)
    m = model()
    args = (m.factors()[0], m.means, m.factors()[1], False)
    sums, label = kernel.em_step(x, w, *args)
    alone = kernel.em_sums(x, w, *args)
    assert np.array_equal(label, kernel.posterior(x, *args)[0])
    assert np.array_equal(sums.quadratic, alone.quadratic)
    assert sums.log_likelihood == alone.log_likelihood
    plain, ones = kernel.em_step(x, None, *args)[0], kernel.em_sums(x, np.ones(700), *args)
    assert np.array_equal(plain.linear, ones.linear)
    assert plain.weight == 700


def in_parts(x, w, args, seed=5):
    order = np.random.default_rng(seed).permutation(x.shape[1])
    cuts = np.sort(np.random.default_rng(seed).integers(0, x.shape[1], 8))
    label = np.empty(x.shape[1], np.int32)
    total = None
    for part in np.split(order, cuts):
        sums, label[part] = kernel.em_step(np.ascontiguousarray(x[:, part]), w[part], *args)
        total = sums if total is None else sums + total
    return total, label


def same(a, b):
    return (
        np.array_equal(a.count, b.count)
        and np.array_equal(a.linear, b.linear)
        and np.array_equal(a.quadratic, b.quadratic)
        and a.log_likelihood == b.log_likelihood
        and a.weight == b.weight
    )


@pytest.mark.parametrize("kind", ["full", "diag"])
@pytest.mark.parametrize("d", [1, 4, 7])
def test_heavy_and_far_rows_do_not_tie_the_sums_to_the_partitioning(kind, d):
    x, w = rows(1500, d)
    w[::97] = 5e3  # beyond what an accumulator may take: their blocks are added row by row
    x[0, ::131] = 100.0
    m = model(kind, d=d)
    args = (m.factors()[0], m.means, m.factors()[1], m.diagonal)
    whole, label = kernel.em_step(x, w, *args)
    total, labels = in_parts(x, w, args)
    assert same(whole, total)
    assert np.array_equal(label, labels)


def test_products_halfway_between_grid_points_do_not_depend_on_what_was_added_before():
    # x0 x1 is an odd multiple of 2^-25, half a grid step: to nearest even would look at the sum.
    rng = np.random.default_rng(0)
    odd = 2 * rng.integers(-400, 400, (2, 3000)) + 1
    x = (odd * np.array([[2.0**-12], [2.0**-13]])).astype(np.float32)
    one = (np.zeros(1), np.zeros((1, 2)), np.eye(2)[None], False)
    whole, _ = kernel.em_step(x, np.ones(3000), *one)
    assert same(whole, in_parts(x, np.ones(3000), one)[0])
    truth = (x[0].astype(float) * x[1]).sum()
    assert whole.quadratic[0, 1, 0] == pytest.approx(truth, abs=3000 * 2.0**-25)
    assert whole.quadratic[0, 1, 0] != truth


def test_posteriors_do_not_depend_on_the_place_of_the_row():
    x, _ = rows(600)
    m = model()
    args = (m.factors()[0], m.means, m.factors()[1], False)
    whole = kernel.posterior(x, *args)
    for lo, hi in ((1, 2), (3, 36), (63, 600)):
        part = kernel.posterior(np.ascontiguousarray(x[:, lo:hi]), *args)
        assert all(np.array_equal(a, b[lo:hi]) for a, b in zip(part, whole, strict=True))

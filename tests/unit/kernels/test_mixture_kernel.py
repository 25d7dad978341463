"""Densities against a direct formula; EM sums exact in any order."""

import numpy as np

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

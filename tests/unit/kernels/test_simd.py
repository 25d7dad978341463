import math
import os
import platform
import subprocess
import sys

import numba
import numpy as np
import pytest

from segpipe.kernels import simd, simd_math


@numba.njit
def exponentials(z, out):
    for r in range(0, len(z), 8):
        simd.store(out, r, simd_math.exponential(simd.load(z, r)))


def test_exponential_is_within_an_ulp_and_exact_at_zero():
    z = np.concatenate([-np.geomspace(1e-300, 59.99, 4000), -np.linspace(0, 59.9, 4000)])
    z = np.append(z, [0.0, -60.0, -60.1, -1e3, -1e300, -np.inf, -1e-17, -1.0])
    out = np.empty(len(z))
    exponentials(z, out)
    some = z >= -60
    truth = np.array([math.exp(v) for v in z[some]])
    assert np.all(np.abs(out[some] - truth) <= np.spacing(truth))
    assert np.all(out[~some] == 0.0)
    assert np.all(out[z == 0] == 1.0)


@numba.njit
def fused(a, b, c, out):
    simd.store(out, 0, simd.fma(simd.load(a, 0), simd.load(b, 0), simd.load(c, 0)))


def test_fused_multiply_add_rounds_once():
    # (1 + 2^-30)^2 - 1 - 2^-29 = 2^-60, which two roundings lose
    a = np.full(8, 1 + 2.0**-30)
    out = np.empty(8)
    fused(a, a, np.full(8, -1 - 2.0**-29), out)
    assert out.tolist() == [2.0**-60] * 8
    a = np.full(16, 1 + 2.0**-13, np.float32)
    single = np.empty(16, np.float32)
    fused(a, a, np.full(16, -1 - 2.0**-12, np.float32), single)
    assert single.tolist() == [2.0**-26] * 16


@numba.njit
def gathered(a, index, out):
    simd.store(out, 0, simd.gather(a, simd.load(index, 0)))


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_gather_takes_each_lane_from_its_own_place(kind):
    a, out = np.arange(100, 300).astype(kind), np.empty(16, kind)
    index = np.array([0, 199, 7, 7, 64, 3, 2, 1, 100, 101, 102, 50, 49, 48, 198, 0], np.int32)
    gathered(a, index, out)
    assert out.tolist() == [100 + i for i in index]


@numba.njit
def odd(a, out):
    simd.store(out, 0, simd.odd(simd.load(a, 0)))


def test_odd_sets_the_last_bit_of_all_but_zeros():
    a, out = np.array([0.0, -0.0, 1.0, -2.0, np.nextafter(1, 2), 3e-9, -4e7, 0.5]), np.empty(8)
    odd(a, out)
    bits = out.view(np.int64)
    assert np.all(bits[2:] & 1 == 1)
    assert np.array_equal(bits[2:] | 1, a.view(np.int64)[2:] | 1)
    assert np.array_equal(bits[:2], a.view(np.int64)[:2])


@numba.njit
def first(a):
    simd.store(a, 0, simd.load(a, 0))


def test_a_vector_is_not_loaded_across_a_stride():
    with pytest.raises(numba.TypingError, match="contiguous"):
        first(np.zeros((8, 2))[:, 0])


STEP = """
import hashlib, numpy as np
from segpipe.kernels import mixture
rng = np.random.default_rng(0)
x = rng.normal(size=(5, 300)).astype(np.float32)
factor = np.tril(rng.normal(size=(3, 5, 5))) + np.eye(5)
sums, label = mixture.em_step(x, None, np.zeros(3), rng.normal(size=(3, 5)), factor, False)
parts = sums.count, sums.linear, sums.quadratic, np.array(sums.log_likelihood), label
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
def test_processors_without_wide_registers_or_fused_operations_give_the_same_bits():
    found = set()
    for cpu in ("x86-64", ""):
        chosen = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ""} if cpu else {}
        out = subprocess.run(
            [sys.executable, "-c", STEP], env=os.environ | chosen, check=True, capture_output=True
        )
        found.add(out.stdout)
    assert len(found) == 1

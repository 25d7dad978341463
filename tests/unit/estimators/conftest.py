"""A table for the estimators."""

import numpy as np
import pandas as pd
import pytest

PLACES = np.array([[0.0, 0, 0], [8, 0, 0], [0, 8, 0], [4, 4, 9]])


@pytest.fixture(scope="module")
def table():
    """400 rows around four places, one cell missing, a constant column, a category, an id."""
    rng = np.random.default_rng(3)
    x = np.repeat(PLACES, 100, axis=0) + rng.normal(0, 1, (400, 3))
    x[7, 1] = np.nan
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    frame["site"] = 7.0
    frame["kind"] = np.where(rng.random(400) < 0.3, "x", "y")
    frame["id"] = np.arange(400)
    return frame.sample(frac=1, random_state=0, ignore_index=True)

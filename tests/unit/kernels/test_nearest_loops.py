"""When the compiled loops are loaded."""

import sys

from segpipe.kernels import nearest_loops as loops


def test_small_steps_are_numpy_s_until_they_have_cost_as_much_as_loading_the_loops(monkeypatch):
    monkeypatch.setattr(loops.Rent, "paid", 0)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    step = loops.SMALL
    assert not any(loops.Rent.due(step) for _ in range(loops.RENT // step))
    assert loops.Rent.due(step)
    monkeypatch.setattr(loops.Rent, "paid", loops.RENT_IMPORTED)
    assert not loops.Rent.due(step)
    monkeypatch.setitem(sys.modules, "numba", object())
    assert loops.Rent.due(step)

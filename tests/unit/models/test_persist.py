"""Round trips are equal to the last bit; the files hold no code; damage is told apart."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segpipe.errors import ConfigError, DataError, InputMissing
from segpipe.models.kmeans import KMeansModel
from segpipe.models.mixture import MixtureModel
from segpipe.models.persist import load, save


@dataclass(frozen=True)
class Box:
    inside: Any
    name: str = "box"


def test_round_trip_of_nested_values(tmp_path):
    model = MixtureModel(np.array([1.0]), np.array([[1 / 3, -0.0]]), np.array([2.0]), "spherical")
    value = Box(
        (
            model,
            None,
            True,
            {"a": 1.5, "b": [1, "ü"]},
            float("inf"),
            np.array(["x", "yy"]),
            np.array([1, 2], np.int32),
            np.float64(0.1),
        )
    )
    save(value, str(tmp_path / "m"))
    back = load(str(tmp_path / "m"), classes=(Box,))
    mixture, none, true, mapping, inf, text, ints, scalar = back.inside
    assert isinstance(mixture, MixtureModel)
    assert mixture.means.tobytes() == model.means.tobytes()
    assert (none, true, mapping, inf, scalar) == (
        None,
        True,
        {"a": 1.5, "b": [1, "ü"]},
        np.inf,
        0.1,
    )
    assert text.tolist() == ["x", "yy"] and ints.dtype == np.int32 and back.name == "box"


def test_same_value_same_bytes(tmp_path):
    model = KMeansModel(np.random.default_rng(0).normal(size=(3, 2)))
    for name in "ab":
        save(model, str(tmp_path / name))
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in "ab")
    assert first == second and len(first) == 2


def test_replacing_a_model_leaves_a_whole_one(tmp_path):
    for value in (1.0, 2.0):
        save(KMeansModel(np.array([[value]])), str(tmp_path))
    assert load(str(tmp_path)).centres.tolist() == [[2.0]]


def test_many_savers_of_one_model_at_once(tmp_path):
    """Two runs of one key write the same model at the same time: neither takes the other's file."""
    model = KMeansModel(np.random.default_rng(0).normal(size=(3, 2)))

    def keep(_: int) -> None:
        for _ in range(25):
            save(model, str(tmp_path))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep, range(4)))
    assert load(str(tmp_path)).centres.tolist() == model.centres.tolist()
    assert len(list(tmp_path.iterdir())) == 2


def test_objects_are_refused(tmp_path):
    for value in (Box(np.array([object()])), Box({1: "number key"}), Box(print)):
        with pytest.raises(TypeError):
            save(value, str(tmp_path))


def edit(folder: Path, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_errors_say_what_is_wrong(tmp_path):
    with pytest.raises(InputMissing):
        load(str(tmp_path / "nowhere"))
    save(KMeansModel(np.zeros((1, 1))), str(tmp_path))
    edit(tmp_path, format_version=99)
    with pytest.raises(ConfigError, match="format version 99"):
        load(str(tmp_path))
    edit(tmp_path, format_version=1, root={"class": "os.system", "fields": {}})
    with pytest.raises(ConfigError, match="does not know"):
        load(str(tmp_path))
    edit(tmp_path, arrays="../x.npz")
    with pytest.raises(DataError, match="outside"):
        load(str(tmp_path))
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(DataError, match="no segpipe model"):
        load(str(tmp_path))


def test_damaged_arrays_are_noticed(tmp_path):
    save(KMeansModel(np.zeros((1, 1))), str(tmp_path))
    (npz,) = tmp_path.glob("*.npz")
    npz.write_bytes(npz.read_bytes()[:-1] + b"!")
    with pytest.raises(DataError, match="damaged"):
        load(str(tmp_path))

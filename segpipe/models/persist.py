"""Fitted values on disk: one JSON that names its npz by digest. No pickle, no code from the file.

The JSON is written last and holds the digest of the arrays, so a reader sees the old pair or the
new pair, never a mixture. Classes come from the table below, never from a name in the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
import json
import math
import posixpath
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.fs as pafs

from segpipe.errors import ConfigError, DataError, InputMissing, said

FORMAT_VERSION = 1
JSON_NAME = "model.json"

CLASSES: Mapping[str, str] = {
    "BlendDetector": "segpipe.models.blend",
    "Calibration": "segpipe.models.calibration",
    "Cells": "segpipe.kernels.lookup",
    "DensityDetector": "segpipe.models.detectors",
    "DensityModel": "segpipe.models.density",
    "EllipsoidDetector": "segpipe.models.blend",
    "Fitted": "segpipe.models.fitted",
    "ForestDetector": "segpipe.models.detectors",
    "Input": "segpipe.models.scaler",
    "KMeansModel": "segpipe.models.kmeans",
    "LensDetector": "segpipe.models.lens",
    "MassDetector": "segpipe.models.detectors",
    "MergedModel": "segpipe.models.merged",
    "MixtureModel": "segpipe.models.mixture",
    "Scaler": "segpipe.models.scaler",
    "SegmentDetector": "segpipe.models.detectors",
    "Strata": "segpipe.models.strata",
    "Tail": "segpipe.models.calibration",
    "TailDetector": "segpipe.models.blend",
}
"""Every class that may be saved, by its home; classes of upper layers are passed to ``load``."""


def save(value: Any, folder: str, filesystem: pafs.FileSystem | None = None) -> str:
    """Write ``value`` (a frozen dataclass) into ``folder``; returns the path of its JSON.

    Fields may be None, bool, int, float, str, tuple, list, dict with text keys, NumPy arrays
    (numbers, bool, unicode) and other dataclasses. The same value gives the same bytes.
    """
    store = filesystem or pafs.LocalFileSystem()
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    root = _encode(value, arrays)
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    data = packed.getvalue()
    npz = f"arrays-{hashlib.sha256(data).hexdigest()[:16]}.npz"
    document = {"format_version": FORMAT_VERSION, "arrays": npz, "root": root}
    store.create_dir(folder, recursive=True)
    _write(store, posixpath.join(folder, npz), data)
    path = posixpath.join(folder, JSON_NAME)
    _write(store, path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())
    return path


def load(
    folder: str, filesystem: pafs.FileSystem | None = None, classes: tuple[type[Any], ...] = ()
) -> Any:
    """Read what ``save`` wrote; ``classes`` adds dataclasses of upper layers to the table.

    Raises
    ------
    InputMissing
        There is no model in ``folder``.
    ConfigError
        Another format version, or a class that this version does not know.
    DataError
        The files are damaged.
    """
    store = filesystem or pafs.LocalFileSystem()
    known = {c.__name__: c for c in classes}
    try:
        document = json.loads(_read(store, posixpath.join(folder, JSON_NAME)))
        version, npz = document["format_version"], document["arrays"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}/{JSON_NAME} is no segpipe model: {said(error)}.") from error
    if version != FORMAT_VERSION:
        raise ConfigError(
            f"the model in {folder} has format version {version}; this segpipe reads "
            f"{FORMAT_VERSION}.",
            "load it with the segpipe that wrote it, or fit again",
        )
    if posixpath.basename(npz) != npz:
        raise DataError(f"{folder}/{JSON_NAME} points outside its folder: {npz!r}.")
    data = _read(store, posixpath.join(folder, npz))
    if hashlib.sha256(data).hexdigest()[:16] not in npz:
        raise DataError(f"{folder}/{npz} is damaged: its digest differs from its name.")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return _decode(document["root"], {name: arrays[name] for name in arrays.files}, known)


def _encode(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufU":
            raise TypeError(f"arrays of {value.dtype} cannot be saved")
        arrays[f"a{len(arrays)}"] = value
        return {"array": f"a{len(arrays) - 1}"}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str | float):
        odd = isinstance(value, float) and not math.isfinite(value)
        return {"float": str(value)} if odd else value
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_encode(item, arrays) for item in value]}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encode(item, arrays) for key, item in value.items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: _encode(getattr(value, f.name), arrays)
            for f in dataclasses.fields(value)
            if f.init
        }
        return {"class": type(value).__name__, "fields": fields}
    raise TypeError(f"a {type(value).__name__} cannot be saved")


def _decode(node: Any, arrays: Mapping[str, Any], known: Mapping[str, type[Any]]) -> Any:
    if not isinstance(node, dict):
        return node
    if "class" in node:
        fields = {name: _decode(part, arrays, known) for name, part in node["fields"].items()}
        return _class(node["class"], known)(**fields)
    tag, body = next(iter(node.items()))
    if tag == "dict":
        return {key: _decode(part, arrays, known) for key, part in body.items()}
    if tag in ("tuple", "list"):
        items = [_decode(part, arrays, known) for part in body]
        return tuple(items) if tag == "tuple" else items
    return arrays[body] if tag == "array" else float(body)


def _class(name: str, known: Mapping[str, type[Any]]) -> type[Any]:
    if name in known:
        return known[name]
    if name not in CLASSES:
        raise ConfigError(
            f"the model holds a {name!r}, which this segpipe does not know.",
            "load it with the segpipe that wrote it, or fit again",
        )
    found: type[Any] = getattr(importlib.import_module(CLASSES[name]), name)
    return found


def _write(store: pafs.FileSystem, path: str, data: bytes) -> None:
    # An object store shows a put only when it is complete; a local file needs the rename.
    local = isinstance(store, pafs.LocalFileSystem)
    # Its own name: two runs of one key write the same model at once, each must find its file.
    target = f"{path}.{uuid.uuid4().hex}" if local else path
    with store.open_output_stream(target) as out:
        out.write(data)
    if local:
        store.move(target, path)


def _read(store: pafs.FileSystem, path: str) -> bytes:
    try:
        with store.open_input_stream(path, compression=None) as stream:
            return bytes(stream.read())
    except FileNotFoundError as error:
        raise InputMissing(
            f"no model file {path}.", "give the model_uri of a finished run"
        ) from error

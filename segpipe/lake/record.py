"""Run records: what a run did, beside the table it wrote, in strict JSON."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Mapping
from typing import Any

from segpipe.errors import InputMissing
from segpipe.lake.staging import check_run_id
from segpipe.lake.uris import absolute, address, is_local, listing, locate, reading, storing

HOME = "_segpipe"


def run_key(
    config: Mapping[str, Any],
    snapshot: str,
    as_of: str | None,
    partitions: tuple[str, ...],
    engine: str,
) -> str:
    """sha256 of all that decides the labels: equal keys would publish equal rows.

    ``config``: the resolved sections that matter (source, contract, features, fit, outliers,
    target, seed); ``snapshot``: ``Table.snapshot``.
    """
    held = [_plain(config), snapshot, as_of, sorted(partitions), engine]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def run_folder(uri: str, run_id: str) -> str:
    """Address of the folder for record, decision and report of a run."""
    check_run_id(run_id)
    return f"{absolute(uri)}/{HOME}/runs/{run_id}"


def rejects_folder(uri: str, run_id: str) -> str:
    """Address of the folder for the run's rejected rows (``staging.Writer`` root)."""
    check_run_id(run_id)
    return f"{absolute(uri)}/{HOME}/rejects/{run_id}"


def model_folder(uri: str, model_id: str) -> str:
    """Address of the folder for a fitted model."""
    return f"{absolute(uri)}/{HOME}/models/{model_id}"


def write_json(uri: str, run_id: str, name: str, value: Mapping[str, Any]) -> str:
    """Write ``name``.json of a run whole or not at all; returns its address.

    Non-finite numbers become null. ConfigError 78 without permission.
    """
    place = f"{run_folder(uri, run_id)}/{name}.json"
    text = json.dumps(_plain(value), indent=1, allow_nan=False, ensure_ascii=False)
    filesystem, path = locate(place)
    with storing(place):
        filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
        # One put replaces an object whole; a file needs a rename for that.
        last = f"{path}.{uuid.uuid4().hex}" if is_local(place) else path
        with filesystem.open_output_stream(last) as out:
            out.write(text.encode())
        if last != path:
            filesystem.move(last, path)
    return place


def read_json(uri: str, run_id: str, name: str) -> dict[str, Any]:
    """What ``write_json`` wrote; InputMissing 66 if it is not there."""
    place = f"{run_folder(uri, run_id)}/{name}.json"
    filesystem, path = locate(place)
    with reading(f"{name} of run {run_id}"), filesystem.open_input_stream(path) as source:
        held: dict[str, Any] = json.loads(source.read())
    return held


def history(uri: str) -> list[dict[str, Any]]:
    """The records of all runs of a target, newest first (by ``started``, then run id).

    InputMissing 66 if no run ever wrote there.
    """
    place = f"{absolute(uri)}/{HOME}/runs"
    filesystem, path = locate(place)
    found = []
    with reading(f"runs of target {uri}"):
        for info in listing(filesystem, path):
            if info.path.endswith("/record.json"):
                with filesystem.open_input_stream(info.path) as source:
                    record: dict[str, Any] = json.loads(source.read())
                found.append({**record, "record": address(place, info.path)})
    if not found:
        raise InputMissing(f"no run is recorded at {uri}.", "give the target.uri of a job.")
    return sorted(
        found, key=lambda r: (str(r.get("started", "")), str(r.get("run_id", ""))), reverse=True
    )


def _plain(value: Any) -> Any:
    """Strict JSON: NaN and infinity are null, keys are text, what JSON lacks is its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)

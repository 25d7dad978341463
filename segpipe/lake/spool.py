"""Scores of all rows on disk, between the pass that computes them and the pass that writes them.

Eight bytes a row, in the order of the part's rows, and twenty in a file beside it where the final
model had labelled them, too; a task that runs twice writes a second file that nobody reads.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segpipe.lake.uris import absolute, is_local, locate, storing
from segpipe.values import Floats, Labels

_LABELS = np.dtype([("segment", "<i4"), ("confidence", "<f8"), ("distance", "<f8")])
_BESIDE = ".labels"


def spool_folder(uri: str, run_id: str) -> str:
    """Address of the spooled scores of a run."""
    return f"{absolute(uri)}/_segpipe/spool/{run_id}"


@dataclass(frozen=True, slots=True)
class Spool:
    """A folder that every worker reaches; picklable."""

    folder: str

    def open(self) -> SpoolFile:
        """A new file, for one part."""
        return SpoolFile(f"{self.folder}/{uuid.uuid4().hex}.f8")


class SpoolFile:
    """Scores of one part, being written."""

    def __init__(self, place: str) -> None:
        self._place = place
        filesystem, path = locate(place)
        with storing(place):
            filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
            self._sink: Any = filesystem.open_output_stream(path)
        self._labels: Any = None

    def write(self, score: Floats) -> None:
        """Append the scores of the next rows."""
        with storing(self._place):
            self._sink.write(np.ascontiguousarray(score, "<f8").data)

    def label(self, labels: Labels) -> None:
        """Append what the final model says of the next rows: of all of them or of none."""
        rows = np.empty(len(labels.segment), _LABELS)
        for name in _LABELS.names or ():
            rows[name] = getattr(labels, name)
        with storing(self._place):
            if self._labels is None:
                filesystem, path = locate(self._place + _BESIDE)
                self._labels = filesystem.open_output_stream(path)
            self._labels.write(rows.view(np.uint8).data)

    def close(self) -> str:
        """Finish; where the file lies."""
        with storing(self._place):
            self._sink.close()
            if self._labels is not None:
                self._labels.close()
        return self._place


@contextlib.contextmanager
def spooling(uri: str, run_id: str, trace: bool = True) -> Iterator[None]:
    """What a run spools in this block is gone after it; a killed run's goes with its mark.

    Without ``trace`` the folders made for it go, too, so that a dry run leaves nothing.
    """
    made = [] if trace or not is_local(uri) else _missing(Path(spool_folder(uri, run_id)))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # litter must not fail a run that is published
            drop(spool_folder(uri, run_id))
            for folder in made:
                folder.rmdir()


def _missing(folder: Path) -> list[Path]:
    """The folders above ``folder`` that are not there yet, the lowest first."""
    return [parent for parent in folder.parents if not parent.exists()]


def drop(folder: str) -> None:
    """Remove the folder of a spool, if there is one."""
    filesystem, path = locate(folder)
    with contextlib.suppress(FileNotFoundError):
        filesystem.delete_dir(path)


class Spooled:
    """Scores of one part, read back in the order of its rows."""

    def __init__(self, place: str) -> None:
        filesystem, path = locate(place)
        with storing(place):
            self._source: Any = filesystem.open_input_stream(path)
            try:
                self._labels: Any = filesystem.open_input_stream(path + _BESIDE)
            except FileNotFoundError:
                self._labels = None

    def take(self, rows: int) -> Floats:
        """Scores (rows,) of the next rows."""
        raw = self._source.read(8 * rows)
        if len(raw) != 8 * rows:
            raise AssertionError("the scores of a part are fewer than its rows")
        return np.frombuffer(raw, "<f8")

    def labels(self, rows: int) -> Labels | None:
        """Labels of the next rows; None where no pass knew the final model."""
        if self._labels is None:
            return None
        raw = self._labels.read(_LABELS.itemsize * rows)
        if len(raw) != _LABELS.itemsize * rows:
            raise AssertionError("the labels of a part are fewer than its rows")
        found = np.frombuffer(raw, _LABELS)
        return Labels(*(np.ascontiguousarray(found[name]) for name in _LABELS.names or ()))

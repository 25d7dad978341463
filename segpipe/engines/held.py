"""What stays of a table in this process: parts read before, persisted rows, the room for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from segpipe.engines.frames import Batches


class Room:
    """Bytes left for persisted rows, counted by all threads."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether ``size`` more bytes fit, and then they are taken; negative ones come back."""
        with self._lock:
            fits = size <= self._left
            self._left -= size if fits else 0
            return fits


@dataclass(frozen=True, slots=True)
class Held:
    """Opens a part; after a whole reading its batches stay in memory, if there is room."""

    read: Callable[[Any], Iterable[pa.RecordBatch]]
    room: Room
    parts: dict[Any, list[pa.RecordBatch]] = field(default_factory=dict)

    def __call__(self, group: Any) -> Batches:
        """Batches of the part."""
        held = self.parts.get(group)
        if held is not None:
            yield from held
            return
        batches: list[pa.RecordBatch] = []
        size, whole = 0, True
        try:
            for batch in self.read(group):
                whole = whole and self.room.take(batch.nbytes)
                if whole:
                    batches.append(batch)
                    size += batch.nbytes
                elif batches:
                    self._give_back(batches, size)
                    size = 0
                yield batch
        except BaseException:
            self._give_back(batches, size)
            raise
        if whole:
            self.parts[group] = batches

    def _give_back(self, batches: list[pa.RecordBatch], size: int) -> None:
        batches.clear()
        self.room.take(-size)


@dataclass(frozen=True, slots=True)
class Kept:
    """A persisted part: what fitted in memory, then the file with the rest."""

    batches: tuple[pa.RecordBatch, ...] = ()
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """Fold step: keeps a part's rows, in memory while there is room, then in a file."""

    room: Room
    folder: Path
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(2**62)))

    def __call__(self, batches: Batches) -> list[Kept]:
        """One part, kept."""
        memory: list[pa.RecordBatch] = []
        path, writer = None, None
        try:
            for batch in batches:
                if writer is None and self.room.take(batch.nbytes):
                    memory.append(batch)
                    continue
                if writer is None:
                    path = str(self.folder / f"{next(self.numbers)}-{threading.get_ident()}.arrow")
                    writer = pa.ipc.new_file(path, batch.schema)
                writer.write_batch(batch)
        finally:
            if writer is not None:
                writer.close()
        return [Kept(tuple(memory), path)]


def reopen(kept: Kept) -> Batches:
    """The rows of a kept part; those in the file are mapped, not read."""
    yield from kept.batches
    if kept.file is not None:
        with pa.memory_map(kept.file) as source, pa.ipc.open_file(source) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)

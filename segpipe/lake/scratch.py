"""Arrow files that tasks leave for one another below the target, until the run ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from segpipe.lake.uris import is_local, locate, reading, storing


@dataclass(frozen=True, slots=True)
class Scratch:
    """A folder that every worker reaches; a task that runs twice leaves a file nobody reads."""

    folder: str

    def store(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> str:
        """Write a new file; its address.

        Raises
        ------
        ConfigError, TemporaryError
            The folder cannot be written, ever or now.
        """
        place = f"{self.folder}/{uuid.uuid4().hex}.arrow"
        filesystem, path = locate(place)
        with storing(place):
            filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
        # What fails in ``batches`` is no failure of the store.
        source = iter(batches)
        with storing(place):
            sink = filesystem.open_output_stream(path)
        with sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in source:
                with storing(place):
                    writer.write_batch(batch)
        return place

    def load(self, place: str) -> Iterator[pa.RecordBatch]:
        """The batches of a file, as they were written."""
        with reading(place), _opened(place) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)

    def load_one(self, place: str, number: int) -> pa.RecordBatch:
        """One of them."""
        with reading(place), _opened(place) as source:
            return pa.ipc.open_file(source).get_batch(number)


def _opened(place: str) -> Any:
    """A file for reading. Local ones are mapped: columns that nobody looks at are not copied."""
    filesystem, path = locate(place)
    return pa.memory_map(path) if is_local(place) else filesystem.open_input_file(path)

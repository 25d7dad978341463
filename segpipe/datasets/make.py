"""Writes a synthetic table of any size as Parquet, in bounded memory, and its truth beside it.

The tables are **synthetic**: drawn from the distributions written down in this package, the same
for the same seed and number of rows. They are realistic enough to try a pipeline on and to measure
it with, and no evidence of how it does on your data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from segpipe.datasets import blobs, connections, customers
from segpipe.datasets.chunk import CHUNK_ROWS, Chunk
from segpipe.errors import ConfigError
from segpipe.lake.uris import absolute, is_local, locate

KINDS: dict[str, Callable[[int, int], Iterator[Chunk]]] = {
    "customers": customers.chunks,
    "connections": connections.chunks,
    "blobs": blobs.chunks,
}


@dataclass(frozen=True, slots=True)
class Made:
    """What was written, and where."""

    kind: str
    rows: int
    table: str
    """Address of the table: a file, or a folder of files."""
    truth: str

    def __str__(self) -> str:
        return f"{self.rows:,} synthetic rows ({self.kind}) in {self.table}, truth in {self.truth}"


def make(kind: str, rows: int, out: str, seed: int = 0) -> Made:
    """Write ``rows`` rows of ``kind`` to ``out``; the truth gets a name that readers skip.

    An ``out`` ending in ``.parquet`` with at most 1,000,000 rows is one file, its truth
    ``_<name>_truth.parquet`` beside it; everything else is a folder with ``_truth.parquet`` inside.

    * customers: transactions (customer_id, order_id, ts, quantity, price, category, country), truth
      customer_id -> archetype. Above one file: a file per month.
    * connections: flows (uid, ts, src, src_port, dst, dst_port, proto, service, flag, duration,
      src_bytes, dst_bytes, src_packets, dst_packets), truth uid -> attack, "normal" or one of scan,
      flood, exfiltration, beaconing (about 2 % together). A file per day.
    * blobs: f0..f15 float32, eight Gaussian clusters of unequal size, truth in the order of the
      rows: file, row, cluster.

    Raises
    ------
    ConfigError
        Unknown kind, rows below 1, or ``out`` exists already.
    """
    if out.endswith(".csv"):
        raise ConfigError(f"--out {out} ends in .csv; Parquet is written.", "End it in .parquet.")
    if kind not in KINDS:
        raise ConfigError(
            f"data of kind {kind!r} were asked for.", hint=f"there are {', '.join(KINDS)}"
        )
    if rows < 1:
        raise ConfigError(f"{rows} rows were asked for.", hint="give --rows 1 or more")
    place = absolute(out)
    filesystem, path = locate(place)
    above, _, name = path.rpartition("/")
    single = name.endswith(".parquet") and rows <= CHUNK_ROWS
    truth = f"_{name.removesuffix('.parquet')}_truth.parquet" if single else "_truth.parquet"
    _refuse_existing(filesystem, path, place)
    # A killed run leaves no half table behind where files can be renamed; an object store cannot.
    local = is_local(place)
    folder = f"{above}/.{name}.making" if local else above if single else path
    if local and filesystem.get_file_info(folder).type != pafs.FileType.NotFound:
        filesystem.delete_dir(folder)
    filesystem.create_dir(folder, recursive=True)
    with _Files(filesystem, folder) as files:
        for chunk in KINDS[kind](rows, seed):
            file = name if single else f"part-{chunk.file}.parquet"
            files.write(file, chunk.table, chunk.plain)
            said = chunk.truth
            if "file" in said.schema.names:
                said = said.set_column(0, "file", pa.array([file] * said.num_rows))
            files.write(truth, said, ())
    if local and single:
        filesystem.move(f"{folder}/{truth}", f"{above}/{truth}")
        filesystem.move(f"{folder}/{name}", path)
        filesystem.delete_dir(folder)
    elif local:
        filesystem.move(folder, path)
    return Made(kind, rows, place, f"{place.rpartition('/')[0] if single else place}/{truth}")


def _refuse_existing(filesystem: pafs.FileSystem, path: str, place: str) -> None:
    found = filesystem.get_file_info(path)
    if found.type == pafs.FileType.NotFound:
        return
    if found.type == pafs.FileType.Directory and not filesystem.get_file_info(
        pafs.FileSelector(path)
    ):
        filesystem.delete_dir(path)
        return
    raise ConfigError(f"{place} exists.", hint="remove it, or give another --out")


class _Files:
    """Parquet files that grow by row groups; one open writer per name."""

    def __init__(self, filesystem: pafs.FileSystem, folder: str) -> None:
        self.filesystem, self.folder = filesystem, folder
        self.writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self.writers.values():
            writer.close()

    def write(self, name: str, table: pa.Table, plain: tuple[str, ...]) -> None:
        """Append ``table``; ``plain`` columns hold too many values for a dictionary."""
        if name not in self.writers:
            coded = [c for c in table.schema.names if c not in plain]
            self.writers[name] = pq.ParquetWriter(
                f"{self.folder}/{name}",
                table.schema,
                filesystem=self.filesystem,
                compression="zstd",
                compression_level=1,
                use_dictionary=coded or False,
            )
        self.writers[name].write_table(table, row_group_size=262_144)

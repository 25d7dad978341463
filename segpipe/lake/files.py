"""The data files of a file, folder or glob, listed once in path order."""

from __future__ import annotations

import re
from fnmatch import translate

import pyarrow.fs as pafs

from segpipe.errors import InputMissing
from segpipe.lake.uris import locate, reading

_LOGS = (".log", ".log.labeled", ".json", ".jsonl", ".ndjson")
_ENDINGS = {
    "parquet": (".parquet", ".parq", ".pq"),
    # What compression="detect" of pyarrow knows by the name.
    "zeek": tuple(log + packed for log in _LOGS for packed in ("", ".gz", ".zst", ".bz2")),
    "csv": (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz"),
}
_WILD = re.compile(r"[*?\[]")


def hidden(relative: str) -> bool:
    """Whether a part of the path starts with '_' or '.' (but ``_column=value`` is a partition)."""
    return any(
        part.startswith(".") or (part.startswith("_") and "=" not in part)
        for part in relative.split("/")
    )


def find_files(uri: str, format: str) -> list[pafs.FileInfo]:
    """Files in path order; InputMissing 66 if there are none. Empty (0 byte) markers are kept."""
    filesystem, path = locate(uri)
    with reading(f"source {uri}"):
        info = filesystem.get_file_info(path)
        if info.type == pafs.FileType.File:
            return [info]
        if info.type == pafs.FileType.Directory:
            files = _below(filesystem, path, _ENDINGS[format])
        elif _WILD.search(path):
            files = _matching(filesystem, path, _ENDINGS[format])
        else:
            raise InputMissing(f"source {uri} does not exist.", "check source.uri.")
    if not files:
        raise InputMissing(
            f"source {uri} holds no {format} file (*{', *'.join(_ENDINGS[format])}).",
            "check source.uri and source.format.",
        )
    return files


def _below(filesystem: pafs.FileSystem, path: str, endings: tuple[str, ...]) -> list[pafs.FileInfo]:
    root = path.rstrip("/") + "/"
    found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    return sorted(
        (
            info
            for info in found
            if info.type == pafs.FileType.File
            and info.path.lower().endswith(endings)
            and not hidden(info.path.removeprefix(root))
        ),
        key=lambda info: info.path,
    )


def _matching(
    filesystem: pafs.FileSystem, path: str, endings: tuple[str, ...]
) -> list[pafs.FileInfo]:
    """``*`` stays within a folder, ``**`` crosses; a matched folder stands for its files."""
    parts = path.split("/")
    fixed = next(i for i, part in enumerate(parts) if _WILD.search(part))
    base = "/".join(parts[:fixed]) or "/"
    if filesystem.get_file_info(base).type != pafs.FileType.Directory:
        raise InputMissing(f"folder {base} does not exist.", "check source.uri.")
    pattern = re.compile(_regex(parts[fixed:]))
    root = base.rstrip("/") + "/"
    found = filesystem.get_file_info(pafs.FileSelector(base, recursive=True, allow_not_found=False))
    kept = []
    for info in found:
        relative = info.path.removeprefix(root)
        if info.type != pafs.FileType.File or hidden(relative):
            continue
        whole = pattern.fullmatch(relative)
        folders = relative.split("/")[:-1]
        within = any(
            pattern.fullmatch("/".join(folders[:depth])) for depth in range(1, len(folders) + 1)
        )
        if whole or (within and info.path.lower().endswith(endings)):
            kept.append(info)
    return sorted(kept, key=lambda info: info.path)


def _regex(parts: list[str]) -> str:
    out = []
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if part == "**":
            out.append(".*" if last else "(?:.*/)?")
        else:
            # fnmatch's '*' crosses '/': narrow it. (?s:...)\Z is its wrapping.
            body = translate(part).removeprefix("(?s:").rsplit(")", 1)[0]
            out.append(body.replace(".*", "[^/]*") + ("" if last else "/"))
    return "".join(out)

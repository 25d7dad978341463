"""Where a table lies: local paths and ``s3://`` addresses as pyarrow file systems."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pyarrow.fs as pafs

from segpipe.errors import ConfigError, InputMissing, TemporaryError, said

GONE = ("NO_SUCH_BUCKET", "NO_SUCH_KEY", "ACCESS_DENIED", "NOT_FOUND", "FORBIDDEN")
NO_BUCKET = "To create buckets, enable"
"""What Arrow says instead of a code where the bucket of something to write is absent."""


def is_local(uri: str) -> bool:
    """Whether ``uri`` lies on a mounted file system."""
    return "://" not in uri or uri.startswith("file://")


def absolute(uri: str) -> str:
    """One spelling per place: an absolute plain path, or the ``s3://`` address without a last '/'.

    ConfigError 78 for any other scheme.
    """
    if is_local(uri):
        plain = uri.removeprefix("file://")
        return os.path.abspath(Path(plain).expanduser())  # noqa: PTH100 - resolve() follows links
    if uri.startswith("s3://"):
        return uri.rstrip("/")
    raise ConfigError(
        f"address {uri!r} has scheme {uri.split('://', 1)[0]!r}; known are plain paths, file:// and s3://.",
        "write the path as it is mounted, or an s3:// address.",
    )


@cache
def _s3() -> pafs.FileSystem:
    # Credentials and region: the AWS chain (environment, profile, instance role), never the config.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint is None:
        return pafs.S3FileSystem()
    scheme, _, host = endpoint.rpartition("://")
    return pafs.S3FileSystem(endpoint_override=host, scheme=scheme or "https")


def locate(uri: str) -> tuple[pafs.FileSystem, str]:
    """File system and the path within it."""
    place = absolute(uri)
    if is_local(place):
        return pafs.LocalFileSystem(), place
    return _s3(), place.removeprefix("s3://")


def address(template: str, path: str) -> str:
    """The full address of ``path`` of the file system that holds ``template``."""
    return path if is_local(template) else f"s3://{path}"


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn failures to reach ``what`` into InputMissing 66, or TemporaryError 75 for a store."""
    try:
        yield
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        reason = error.strerror or str(error)
        raise InputMissing(
            f"{what} cannot be read: {reason}.", "check the path and its permissions."
        ) from error
    except OSError as error:
        text = str(error)
        if "AWS Error" not in text:
            raise
        if any(code in text for code in GONE):
            raise InputMissing(
                f"{what} cannot be read: {text}", "check the address and the credentials."
            ) from error
        raise TemporaryError(f"the store of {what} does not answer: {text}", "retry.") from error


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn failures to write ``what`` into ConfigError 78 (not allowed) or TemporaryError 75."""
    try:
        yield
    except PermissionError as error:
        raise ConfigError(
            f"target {what} cannot be written: permission denied.",
            "grant write permission, or choose another target.uri.",
        ) from error
    except OSError as error:
        if error.errno in (errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise ConfigError(
                f"target {what} cannot be written: {error.strerror}.", "choose another target.uri."
            ) from error
        if any(code in str(error) for code in (*GONE, NO_BUCKET)):
            raise ConfigError(
                f"target {what} cannot be written: {error}", "check the bucket and credentials."
            ) from error
        raise TemporaryError(
            f"target {what} cannot be written now: {said(error)}.",
            "free space or mend the store; retry.",
        ) from error


def listing(filesystem: pafs.FileSystem, path: str) -> list[pafs.FileInfo]:
    """Everything below ``path``, while other runs add and remove folders there."""
    while True:
        # A folder may go between being seen and being entered; the next look does not see it.
        with suppress(FileNotFoundError):
            return list(
                filesystem.get_file_info(
                    pafs.FileSelector(path, recursive=True, allow_not_found=True)
                )
            )


def probe(uri: str) -> None:
    """ConfigError 78 if nothing can be written at ``uri``; leaves nothing behind."""
    filesystem, path = locate(uri)
    name = f"{path}/_segpipe/probe-{uuid.uuid4().hex}"
    with storing(uri):
        try:
            filesystem.create_dir(f"{path}/_segpipe", recursive=True)
        except FileNotFoundError as error:
            raise ConfigError(
                f"target {uri} cannot be created: {said(error)}.", "choose another target.uri."
            ) from error
        with filesystem.open_output_stream(name) as out:
            out.write(b"segpipe")
        filesystem.delete_file(name)

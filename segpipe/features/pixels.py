"""Images: pixels in CIE Lab, where distances are about as large as eyes find them.

Identical colours are one unit with a count: a photograph of 24 megapixels has a few 100,000.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.engines.protocol import Engine, Frame
from segpipe.errors import DataError, InputMissing, said
from segpipe.features.plan import Built, Plan, Request, unmapped
from segpipe.features.typing import TextFacts
from segpipe.kernels.cells import numbers
from segpipe.values import Column, Floats

RGB = ("r", "g", "b")
LAB = ("lab_l", "lab_a", "lab_b")
SCHEMA = pa.schema([pa.field(name, pa.uint8()) for name in RGB])
COLOURS = pa.schema([*SCHEMA, pa.field("count", pa.int64())])
BATCH_ROWS = 65_536


def unsure(schema: pa.Schema, mapping: Mapping[str, str], request: Request) -> tuple[str, ...]:
    """None: three columns of known kind."""
    del schema, mapping, request
    return ()


def plan(
    schema: pa.Schema,
    mapping: Mapping[str, str],
    request: Request,
    facts: Mapping[str, TextFacts],
) -> Plan:
    """Columns r, g, b in 0..255.

    Raises
    ------
    DataError
        One of them is absent.
    """
    del facts
    names = unmapped(schema, mapping)
    absent = [name for name in RGB if name not in names]
    if absent:
        raise DataError(
            f"pixels reads r, g, b; the source has {sorted(names)}.",
            hint="use source.format: image, or map the columns",
        )
    columns = tuple(Column(name, "number", True, "null_value") for name in RGB)
    return Plan(columns, dict(mapping), LAB, (), (), request)


def build(engine: Engine, frame: Frame, schema: pa.Schema, plan: Plan) -> Built:
    """The accepted rows with their Lab coordinates (L 0..100, a and b about +-128)."""
    result = pa.schema([*schema, *(pa.field(name, pa.float64()) for name in LAB)])
    built = engine.map_batches(frame, Colours(result), result)
    return Built(built, result, plan.request.keys, LAB, (), (*RGB, *LAB))


@dataclass(frozen=True, slots=True)
class Colours:
    """Adds Lab coordinates to a batch of r, g, b."""

    schema: pa.Schema

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """See the class."""
        rgb = np.stack([numbers(batch.column(name)) for name in RGB], axis=1)
        lab = to_lab(np.clip(rgb, 0.0, 255.0))
        arrays = [*batch.columns, *(pa.array(lab[:, i].copy()) for i in range(3))]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def to_lab(rgb: npt.NDArray[np.generic]) -> Floats:
    """(n, 3) sRGB in 0..255 to CIE Lab (D65, 2 degrees), float64."""
    from skimage.color import rgb2lab

    lab: Floats = rgb2lab(rgb.astype(np.float64)[:, None, :] / 255.0)[:, 0, :]
    return lab


def to_rgb(lab: Floats) -> npt.NDArray[np.uint8]:
    """(n, 3) CIE Lab to the nearest displayable sRGB bytes."""
    from skimage.color import lab2rgb

    return np.rint(lab2rgb(lab[:, None, :])[:, 0, :] * 255.0).astype(np.uint8)  # type: ignore[no-any-return]


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:
    """(height, width, 3) bytes as a viewer shows them: upright, transparency on white.

    Grey becomes three equal channels, of 16 bits the upper eight.

    Raises
    ------
    InputMissing
        No such file.
    DataError
        It is no image, or a broken one.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # convert() would clip at 255
                grey = (np.asarray(upright).astype(np.uint16) >> 8).astype(np.uint8)
                return np.repeat(grey[:, :, None], 3, axis=2)
            if upright.has_transparency_data:
                whole = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
            return np.asarray(upright.convert("RGB"))
    except FileNotFoundError as error:
        raise InputMissing(f"there is no file {path}.") from error
    except PermissionError as error:
        raise InputMissing(f"{path} cannot be read: {error.strerror}.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} cannot be read as an image: {said(error)}.",
            hint="give a PNG, JPEG or TIFF file",
        ) from error


def image_batches(path: str | Path) -> Iterator[pa.RecordBatch]:
    """The pixels of an image, row by row, as batches of ``SCHEMA``."""
    pixels = read_image(path).reshape(-1, 3)
    for start in range(0, len(pixels), BATCH_ROWS):
        part = pixels[start : start + BATCH_ROWS]
        arrays = [pa.array(np.ascontiguousarray(part[:, i])) for i in range(3)]
        yield pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def collapse(image: npt.NDArray[np.uint8]) -> tuple[pa.RecordBatch, npt.NDArray[np.int32]]:
    """Distinct colours with their counts, by rising r, g, b; and each pixel's colour number.

    Returns the batch (``COLOURS``) and an array of the image's (height, width).
    """
    code = image[..., 0].astype(np.int32) << 16
    code |= image[..., 1].astype(np.int32) << 8
    code |= image[..., 2]
    # 2^24 counters cost less than sorting the pixels.
    counts = np.bincount(code.ravel(), minlength=1 << 24)
    seen = np.flatnonzero(counts)
    number = np.zeros(1 << 24, np.int32)
    number[seen] = np.arange(len(seen), dtype=np.int32)
    channels = [pa.array((seen >> shift & 255).astype(np.uint8)) for shift in (16, 8, 0)]
    batch = pa.RecordBatch.from_arrays([*channels, pa.array(counts[seen])], schema=COLOURS)
    return batch, number[code]

"""The HTML page of the palette job: swatches, and the image beside its reduction."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.fit.select import Decision
from segpipe.report.profile import SegmentProfile
from segpipe.schema import SEGMENT_ID
from segpipe.stages.page import can_report, common

SIDE = 720
"""Pixels of the longer side of a picture on the page; the files beside it are whole."""


def palette_page(
    notes: dict[str, Any],
    decision: Decision,
    rows: Sequence[Mapping[str, Any]],
    image: npt.NDArray[np.uint8],
    reduced: bytes,
) -> bytes | None:
    """The page; None where the report extra is missing.

    Parameters
    ----------
    rows : the label table's, one a colour
    image : (height, width, 3) pixels as read
    reduced : the PNG of the image in the palette's colours
    """
    if not can_report(notes):
        return None
    from PIL import Image

    from segpipe.report.render import ReportData, render

    # Most of the image first, as one looks at it; ids stay those of the label table.
    shown = sorted(rows, key=lambda r: (-r["pixels"], r[SEGMENT_ID]))
    page = render(
        ReportData(
            **common(notes, decision.evidence, ("numpy", "pyarrow", "pillow")),
            profiles=[
                SegmentProfile(r[SEGMENT_ID], r["hex"], r["pixels"], r["share"], (), (), ())
                for r in shown
            ],
            rows_labelled=notes["rows_labelled"],
            natural=None,
            palette={r[SEGMENT_ID]: r["hex"] for r in shown},
            images=(
                ("original", _thumbnail(Image.fromarray(image))),
                ("reduced to the palette", _thumbnail(Image.open(io.BytesIO(reduced)))),
            ),
        )
    )
    return page.encode()


def _thumbnail(image: Any) -> bytes:
    """PNG of at most ``SIDE`` pixels a side; colours of a reduced image stay the palette's."""
    from PIL import Image

    image.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()

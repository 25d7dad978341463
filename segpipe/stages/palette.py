"""The palette job: an image into its dominant colours and the image reduced to them.

Distinct colours are the rows, their pixel counts the weights; distances are CIE Lab. The run has
the shape of every run; only the sources and what is published differ.
"""

from __future__ import annotations

import io
import json
import operator
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError, DataError
from segpipe.features import pixels
from segpipe.features.plan import Built, Plan
from segpipe.fit.order import ordered
from segpipe.fit.polish import polish
from segpipe.fit.quantiser import enough, left_over
from segpipe.fit.select import DENSITY, Decision, select
from segpipe.lake import record
from segpipe.lake.publish import open_target
from segpipe.lake.uris import absolute, locate, storing
from segpipe.meter import Meter
from segpipe.models.description import Description, Number
from segpipe.models.fitted import Fitted
from segpipe.models.scaler import Scaler, fit_scaler
from segpipe.schema import MODEL_ID, RUN_ID, SEGMENT, SEGMENT_ID
from segpipe.scoring.outliers import resample
from segpipe.stages import orders, register
from segpipe.stages.evidence import stability_of
from segpipe.stages.orders import Order
from segpipe.stages.palettepage import palette_page
from segpipe.values import Ints, Sample, SegmentModel, Weighing

WEIGHT = "count"
COLOUR_ROWS = pa.schema(
    [
        pa.field(SEGMENT_ID, pa.int32()),
        pa.field(SEGMENT, pa.string()),
        pa.field("hex", pa.string()),
        *(pa.field(name, pa.int16()) for name in pixels.RGB),
        pa.field("pixels", pa.int64()),
        pa.field("share", pa.float64()),
        pa.field(RUN_ID, pa.string()),
        pa.field(MODEL_ID, pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image as distinct colours."""

    colours: pa.RecordBatch
    """r, g, b, count."""
    number: npt.NDArray[np.int32]
    """(height, width) row of ``colours``."""
    counts: npt.NDArray[np.int64]


def open_image(uri: str) -> npt.NDArray[np.uint8]:
    """The pixels of a local image file, (height, width, 3)."""
    place = absolute(uri)
    if "://" in place:
        raise ConfigError(f"source.uri {uri} is no local image file.", "Copy it here first.")
    return pixels.read_image(place)


@dataclass(frozen=True, slots=True)
class LabelOf:
    """Fold step: the segment of every row of a partition, in order."""

    scaler: Scaler
    model: SegmentModel

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> list[Ints]:
        """One array a batch; int32 a colour, 64 MB at most for all colours there are."""
        return [self.model.label(self.scaler.transform(b)).segment for b in batches if b.num_rows]


def see(engine: Engine, picture: Picture) -> Built:
    """The colours as a frame with Lab coordinates, kept."""
    batch = picture.colours
    parts = [batch.slice(i, 65_536) for i in range(0, batch.num_rows, 65_536)]
    frame = engine.from_batches(parts, batch.schema)
    plan = Plan((), {}, pixels.LAB, ())
    built = pixels.build(engine, frame, batch.schema, plan)
    return Built(engine.persist(built.frame), built.schema, (), built.numeric, (), built.shown)


def sampled(picture: Picture, rows: int) -> Description:
    """Colours drawn in proportion to their pixels: evenly along the sorted colours."""
    weight = picture.counts.astype(np.float64)
    if len(weight) <= rows:
        at, drawn = np.arange(len(weight)), weight
    else:
        at, times = np.unique(resample(weight, rows), return_counts=True)
        drawn = times * (weight.sum() / rows)
    taken = picture.colours.take(pa.array(at))
    rgb = np.stack([taken.column(name).to_numpy() for name in pixels.RGB], axis=1)
    lab = pixels.to_lab(rgb)
    batch = pa.RecordBatch.from_arrays(
        [pa.array(lab[:, i].copy()) for i in range(3)], names=list(pixels.LAB)
    )
    # sRGB's Lab ranges, so that no colour of any image is cut off
    ranges = ((0.0, 100.0), (-87.0, 99.0), (-108.0, 95.0))
    numbers = tuple(
        Number(name, 0, lo, hi) for name, (lo, hi) in zip(pixels.LAB, ranges, strict=True)
    )
    return Description(int(weight.sum()), numbers, (), Sample(batch, drawn, np.ones(len(at))))


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """An image's palette: the model, every colour's segment, one row a segment."""

    built: Built
    scaler: Scaler
    model: SegmentModel
    decision: Decision
    segment: Ints
    rows: list[dict[str, Any]]


def run_palette(order: Order, meter: Meter, notes: dict[str, Any]) -> None:
    """Scan, reduce, write, commit; ``pipeline._run`` is its big sister."""
    c = order.config
    if c.source.format != "image":
        raise ConfigError(
            f"features.set pixels reads images, source.format is {c.source.format}.",
            "Set source.format: image.",
        )
    if order.mode != "run" or order.partitions or order.as_of:
        raise ConfigError("the palette job is run as a whole: segpipe run or segpipe palette.")
    with meter.stage("scan"):
        target = open_target(c.target.uri, c.target.format)
        image = open_image(c.source.uri)
        picture, digest = _collapsed(image), _digest(image)
        if orders.nothing_to_do(order, target, digest, notes):
            return
    total = int(picture.counts.sum())
    notes |= {"rows_in": total, "rows_used": total, "rows_rejected": 0}
    notes["rejects"]["rows"] = 0
    with orders.held(order, target, meter), orders.engine_of(order, meter) as engine:
        found = _reduce(order, meter, notes, engine, picture)
        if order.dry_run:
            notes["status"] = "dry_run"
            return
        with meter.stage("write"):
            png = quantised_png(picture, found.segment, found.rows)
            told = {"image": c.source.uri, "k": found.model.k, "colours": _public(found.rows)}
            text = json.dumps(told, indent=1).encode()
            fitted = _fitted(order, digest, found, notes)
            folder = record.run_folder(target.uri, order.run_id)
            notes["model_uri"] = register.save_fitted(target.uri, fitted)
            notes["decision"] = record.write_json(
                target.uri, order.run_id, "decision", found.decision.evidence
            )
            notes["rows_labelled"] = total
            page = palette_page(notes, found.decision, found.rows, image, png)
            kept = (("palette.png", png), ("palette.json", text), ("report.html", page))
            put = {name: _put(f"{folder}/{name}", data) for name, data in kept if data is not None}
            notes["report"] = put.get("report.html")
            files = _stage(engine, order, target, found.rows, fitted.model_id)
        orders.commit(order, meter, notes, target, files, COLOUR_ROWS, digest, fitted)
        places = (("png", png), ("json", text))
        notes["palette"] = {k: _put(f"{target.uri}/palette.{k}", data) for k, data in places}


def _reduce(
    order: Order, meter: Meter, notes: dict[str, Any], engine: Engine, picture: Picture
) -> Reduced:
    c = order.config
    colours = picture.colours.num_rows
    centred = c.fit.model not in DENSITY
    if isinstance(c.fit.k, int) and colours < c.fit.k:
        raise DataError(
            f"{c.fit.k} colours were asked for; the image has only {colours}.", "Ask for fewer."
        )
    with meter.stage("features"):
        built = see(engine, picture)
    with meter.stage("describe"):
        description = sampled(picture, c.fit.sample_rows)
        scaler = fit_scaler(description, "none")
        x, w = scaler.transform(description.sample.batch), description.sample.weight
    with meter.stage("select"):
        left = left_over(x, w, c.fit.k_max, c.seed) if c.fit.k == "auto" and centred else {}
        decision = select(
            x, w, model=c.fit.model, k=enough(left) if left else c.fit.k, k_max=c.fit.k_max,
            covariance=c.fit.covariance, n_init=c.fit.n_init, min_share=c.fit.min_share,
            density_rows=c.fit.density_rows, seed=c.seed, unit=scaler.unit,
        )  # fmt: skip
        if left:
            why = f"palettes of {decision.k} leave {left[decision.k]:.1%} of the colour variance"
            found = decision.evidence | {"left_over": {str(k): v for k, v in left.items()}}
            decision = replace(decision, why=why, evidence=found | {"why": why})
    with meter.stage("polish"):
        passes = c.fit.polish_passes
        polished = polish(
            engine, built.frame, scaler, decision.model, passes, weight=Weighing(WEIGHT)
        )
        model = ordered(polished.model, x, w)
    with meter.stage("label"):
        segment = np.concatenate(engine.fold(built.frame, LabelOf(scaler, model), operator.add))
        rows = palette_rows(picture, segment, scaler, model)
        _tell(notes, decision, model, polished.inertia * scaler.unit**2, rows)
    return Reduced(built, scaler, model, decision, segment, rows)


def _fitted(order: Order, digest: str, found: Reduced, notes: dict[str, Any]) -> Fitted:
    return register.fitted_of(
        register.model_id(orders.run_key(order, digest, "")),
        "pixels",
        Plan((), {}, pixels.LAB, ()),
        found.built,
        found.scaler,
        found.model,
        None,
        None,
        {r[SEGMENT_ID]: r["hex"] for r in found.rows},
        notes["quality"],
    )


def _collapsed(image: npt.NDArray[np.uint8]) -> Picture:
    colours, number = pixels.collapse(image)
    return Picture(colours, number, colours.column(WEIGHT).to_numpy())


def _digest(image: npt.NDArray[np.uint8]) -> str:
    import hashlib

    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()


def palette_rows(
    picture: Picture, segment: Ints, scaler: Scaler, model: SegmentModel
) -> list[dict[str, Any]]:
    """One row a colour: its segment, hex code, bytes, pixels and share."""
    pixels_of = np.bincount(segment[segment >= 0], picture.counts[segment >= 0], model.k)
    lab = np.stack(list(scaler.restore(model.centres).values()), axis=1).astype(np.float64)
    rgb = pixels.to_rgb(lab)
    total = picture.counts.sum()
    return [
        {
            SEGMENT_ID: i,
            SEGMENT: "#{:02x}{:02x}{:02x}".format(*rgb[i]),
            "hex": "#{:02x}{:02x}{:02x}".format(*rgb[i]),
            **{name: int(rgb[i, j]) for j, name in enumerate(pixels.RGB)},
            "pixels": int(pixels_of[i]),
            "share": float(pixels_of[i] / total),
        }
        for i in range(model.k)
    ]


def quantised_png(picture: Picture, segment: Ints, rows: list[dict[str, Any]]) -> bytes:
    """The image in the palette's colours; noise pixels (density models) keep their own."""
    from PIL import Image

    table = np.array([[r[name] for name in pixels.RGB] for r in rows], np.uint8).reshape(-1, 3)
    out = io.BytesIO()
    if len(rows) <= 256 and (segment >= 0).all():
        image = Image.fromarray(segment.astype(np.uint8)[picture.number], mode="P")
        image.putpalette(table.tobytes())
        image.save(out, "PNG")
        return out.getvalue()
    own = np.stack([picture.colours.column(n).to_numpy() for n in pixels.RGB], axis=1)
    new = np.where((segment >= 0)[:, None], table[np.maximum(segment, 0)], own)
    Image.fromarray(new.astype(np.uint8)[picture.number]).save(out, "PNG")
    return out.getvalue()


def _tell(
    notes: dict[str, Any],
    decision: Decision,
    model: SegmentModel,
    inertia: float,
    rows: list[dict[str, Any]],
) -> None:
    notes["model"] = {
        "kind": model.kind, "k": model.k, "library": "native", "why": decision.why,
    }  # fmt: skip
    notes["segments"] = [
        {"id": r[SEGMENT_ID], "name": r["hex"], "rows": r["pixels"], "share": r["share"]}
        for r in rows
    ]
    notes["quality"] = {
        "inertia": inertia,
        "silhouette": decision.evidence.get("silhouette"),
        "stability": stability_of(decision.evidence),
        "natural_segments": decision.natural,
    }
    notes["outliers"]["method"] = "none"


def _public(rows: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    return [{k: v for k, v in r.items() if k != SEGMENT} for r in rows]


def _stage(
    engine: Engine, order: Order, target: Any, rows: list[dict[str, Any]], model_id: str
) -> Any:
    from segpipe.lake.staging import Writer

    full = [{**r, RUN_ID: order.run_id, MODEL_ID: model_id} for r in rows]
    batch = pa.RecordBatch.from_pylist(full, schema=COLOUR_ROWS)
    by = tuple(order.config.target.partition_by)
    writer = Writer(target.stage_uri(order.run_id), order.run_id, by, COLOUR_ROWS)
    return engine.fold(engine.from_batches([batch], COLOUR_ROWS), writer, operator.add)


def _put(place: str, data: bytes) -> str:
    """Write a file whole or not at all; returns its address."""
    filesystem, path = locate(place)
    with storing(place):
        filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
        last = f"{path}.{uuid.uuid4().hex}"
        with filesystem.open_output_stream(last) as out:
            out.write(data)
        filesystem.move(last, path)
    return place

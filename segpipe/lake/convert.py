"""Source columns as the contract's kinds; each conversion also says which values do not fit.

NaN and infinity are missing values in every kind. All results depend on the value alone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import ConfigError, DataError, said
from segpipe.lake.evaluate import parse_numbers

MICRO = 1_000_000
_DAY_US = 86_400 * MICRO
_ISO = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?$"
)
_EPOCH = r"^-?[0-9]{1,18}$"
_PER_US = {"s": MICRO, "ms": 1_000, "us": 1}
Mask = npt.NDArray[np.bool_]


class Converted(NamedTuple):
    """Values (null = missing or unfit) and, per row, whether a value was there but did not fit."""

    values: pa.Array
    unfit: Mask


def mask(array: Any) -> Mask:
    """A boolean array as NumPy; null is False."""
    filled = pc.fill_null(array, False)
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _gone(source: pa.Array, values: pa.Array) -> Mask:
    """A value before, none after."""
    return mask(pc.and_(pc.is_valid(source), pc.is_null(values)))


def _int64(values: npt.NDArray[np.int64], missing: Mask) -> pa.Array:
    return pa.array(values, pa.int64(), mask=missing)


def _plain_int(array: pa.Array) -> tuple[npt.NDArray[np.int64], Mask]:
    missing = mask(pc.is_null(array))
    return np.asarray(pc.fill_null(array, 0).to_numpy(zero_copy_only=False)), missing


def _finite(array: pa.Array) -> pa.Array:
    if _all_finite(array):
        return array
    return pc.if_else(pc.is_finite(array), array, pa.scalar(None, array.type))


def _all_finite(array: pa.Array) -> bool:
    """No null, NaN or infinity: then nothing is to be done, which is most columns' case."""
    if array.null_count:
        return False
    values = array.to_numpy()
    # NaN is the least of what holds one; both ends are finite exactly where all are.
    return not len(values) or bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def is_numeric(kind: pa.DataType) -> bool:
    """Integers, floats, decimals and booleans."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )


def fits(source: pa.DataType, kind: str) -> bool:
    """Whether a column of type ``source`` can become ``kind`` at all."""
    nested = pa.types.is_nested(source)
    if kind == "any":
        return True
    if kind in ("key", "text"):
        return not nested and not (kind == "text" and pa.types.is_binary(source))
    if pa.types.is_string(source):
        return True
    if kind == "time":
        dated = pa.types.is_timestamp(source) or pa.types.is_date(source)
        return bool(dated or (is_numeric(source) and not pa.types.is_boolean(source)))
    return is_numeric(source)


def result_type(source: pa.DataType, kind: str) -> pa.DataType:
    """The type that ``kind`` has in accepted rows."""
    fixed = {
        "time": pa.int64(),
        "money": pa.int64(),
        "number": pa.float64(),
        "weight": pa.float64(),
        "text": pa.string(),
    }
    if kind == "number" and pa.types.is_float32(source):
        return source  # twice the bytes would hold nothing more
    if kind in fixed:
        return fixed[kind]
    return pa.int64() if kind == "key" and pa.types.is_floating(source) else source


def to_number(array: pa.Array) -> Converted:
    """float64 (float32 stays); text that is no plain decimal number does not fit."""
    if pa.types.is_string(array.type):
        values = _finite(parse_numbers(array))
        return Converted(values, _gone(array, values))
    if pa.types.is_boolean(array.type):
        values = array.cast(pa.int8()).cast(pa.float64())
    elif pa.types.is_float32(array.type):
        values = _finite(array)
    else:
        values = _finite(array.cast(pa.float64(), safe=False))
    return Converted(values, np.zeros(len(array), np.bool_))


def to_weight(array: pa.Array) -> Converted:
    """float64 from 0 on; what is missing, negative or no number does not fit."""
    values = to_number(array).values.cast(pa.float64())
    fits = mask(pc.greater_equal(values, 0.0))
    return Converted(pc.if_else(pa.array(fits), values, pa.scalar(None, pa.float64())), ~fits)


def to_money(array: pa.Array) -> Converted:
    """int64 millionths, rounded half to even; what exceeds +-9.2e12 does not fit.

    Integers and decimals are exact. Floats and text go through float64, whose error stays below
    half a millionth up to 2e9.
    """
    kind = array.type
    if pa.types.is_decimal(kind):
        return _money_of_decimal(array)
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        units, missing = _plain_int(array.cast(pa.int64()))
        limit = np.iinfo(np.int64).max // MICRO
        unfit = (units > limit) | (units < -limit)
        return Converted(_int64(np.where(unfit, 0, units) * MICRO, missing | unfit), unfit)
    number = to_number(array.cast(pa.float64()) if pa.types.is_float32(kind) else array)
    missing = mask(pc.is_null(number.values))
    units = np.rint(pc.fill_null(number.values, 0.0).to_numpy(zero_copy_only=False) * MICRO)
    beyond = np.abs(units) >= 2.0**63
    micro = np.where(beyond, 0.0, units).astype(np.int64)
    return Converted(_int64(micro, missing | beyond), number.unfit | beyond)


def _money_of_decimal(array: pa.Array) -> Converted:
    if array.type.scale > 6:
        array = pc.round(array, ndigits=6, round_mode="half_to_even")
    missing = mask(pc.is_null(array))
    try:
        exact = array.cast(pa.decimal128(38, 6))
    except pa.ArrowInvalid:
        # Values of a decimal256 beyond 1e32: far beyond int64 millionths anyway.
        inside = pc.less(pc.abs(array.cast(pa.float64())), 9.2e12)
        array = pc.if_else(inside, array, pa.scalar(None, array.type))
        exact = array.cast(pa.decimal128(38, 6))
    words = np.frombuffer(exact.buffers()[1] or b"", dtype="<i8").reshape(-1, 2)
    words = words[exact.offset : exact.offset + len(exact)]
    unfit = ~missing & (mask(pc.is_null(exact)) | (words[:, 1] != words[:, 0] >> 63))
    return Converted(_int64(words[:, 0], missing | unfit), unfit)


def to_key(array: pa.Array, name: str) -> Converted:
    """The source's type; whole-number floats become int64, a fraction is DataError 65."""
    none = np.zeros(len(array), np.bool_)
    if not pa.types.is_floating(array.type):
        return Converted(array, none)
    values = array.cast(pa.float64())
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    missing = mask(pc.is_null(values))
    plain = pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False)
    wrong = (plain != np.floor(plain)) | (np.abs(plain) >= 2.0**63)
    if wrong.any():
        raise DataError(
            f"key column {name!r} is {array.type} and holds {plain[wrong][0]}: no whole number.",
            "use a whole-number or text key.",
        )
    return Converted(_int64(plain.astype(np.int64), missing), none)


def to_text(array: pa.Array) -> Converted:
    """string; numbers and dates in Arrow's spelling."""
    return Converted(array.cast(pa.string()), np.zeros(len(array), np.bool_))


def to_time(array: pa.Array, time_format: str | None = None) -> Converted:
    """int64 microseconds since 1970 UTC.

    Timestamps without a zone are UTC; finer units are floored. Numbers are epochs: below 1e11
    seconds, below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds. Text is ISO or an
    epoch; ``time_format`` (strptime, no zone) reads text and whole numbers in that format instead.
    """
    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _stored_time(array)
    if time_format is not None:
        text = (
            array
            if pa.types.is_string(kind)
            else array.cast(pa.int64(), safe=False).cast(pa.string())
        )
        values = _strptime(text, time_format)
        return Converted(values, _gone(array, values))
    if pa.types.is_string(kind):
        return _text_time(array)
    return _epoch(array)


def _stored_time(array: pa.Array) -> Converted:
    kind = array.type
    none = np.zeros(len(array), np.bool_)
    if pa.types.is_date32(kind):
        days, missing = _plain_int(array.cast(pa.int32()))
        return Converted(_int64(days.astype(np.int64) * _DAY_US, missing), none)
    if pa.types.is_date64(kind):
        millis, missing = _plain_int(array.cast(pa.int64()))
        return Converted(_int64(millis * 1_000, missing), none)
    ticks, missing = _plain_int(array.cast(pa.int64()))
    if kind.unit == "ns":
        return Converted(_int64(ticks // 1_000, missing), none)
    scale = _PER_US[kind.unit]
    unfit = np.abs(ticks) > np.iinfo(np.int64).max // scale
    return Converted(_int64(np.where(unfit, 0, ticks) * scale, missing | unfit), unfit & ~missing)


def _strptime(text: pa.Array, time_format: str) -> pa.Array:
    try:
        return pc.strptime(text, format=time_format, unit="us", error_is_null=True).cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigError(
            f"source.options.time_format {time_format!r} cannot be used: {said(error)}.",
            "for example '%m/%d/%Y %H:%M'.",
        ) from error


def _text_time(array: pa.Array) -> Converted:
    text = pc.utf8_trim_whitespace(array)
    none = pa.scalar(None, pa.string())
    iso = pc.if_else(pc.match_substring_regex(text, _ISO), text, none)
    # Digits beyond microseconds are floored, as in stored timestamps.
    iso = pc.replace_substring_regex(iso, pattern=r"(\.[0-9]{6})[0-9]+", replacement=r"\1")
    zoned = pc.match_substring_regex(iso, r"(Z|[+-][0-9]{2}:?[0-9]{2})$")
    zoned = pc.and_(zoned, pc.greater(pc.utf8_length(iso), 10))
    local = _cast_times(pc.if_else(zoned, none, iso), pa.timestamp("us"))
    universal = _cast_times(pc.if_else(zoned, iso, none), pa.timestamp("us", "UTC"))
    whole = pc.if_else(pc.match_substring_regex(text, _EPOCH), text, none).cast(pa.int64())
    other = pc.if_else(pc.or_(pc.is_valid(iso), pc.is_valid(whole)), none, text)
    epoch = _epoch(whole).values
    fraction = _epoch(_finite(parse_numbers(other))).values
    values = pc.coalesce(local, universal, epoch, fraction)
    return Converted(values, _gone(array, values))


def _cast_times(text: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return text.cast(kind).cast(pa.int64())
    except pa.ArrowInvalid:
        # One impossible day (30 February) spoils the batch: read it value by value.
        return pa.array([_moment(value) for value in text.to_pylist()], pa.int64())


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    value = value if value.tzinfo else value.replace(tzinfo=UTC)
    delta = value - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * MICRO + delta.microseconds


def _epoch(array: pa.Array) -> Converted:
    if pa.types.is_integer(array.type) and not pa.types.is_uint64(array.type):
        ticks, missing = _plain_int(array.cast(pa.int64()))
        # 20110309 is a day to everybody; as epoch seconds it would lie in August 1970.
        year, month, day = ticks // 10_000, ticks // 100 % 100, ticks % 100
        written = (year >= 1900) & (year <= 2100) & (month >= 1) & (month <= 12)
        written &= (day >= 1) & (day <= 31)
        months = (np.where(written, year, 1970) - 1970) * 12 + np.where(written, month, 1) - 1
        first = months.astype("datetime64[M]").astype("datetime64[D]")
        days = first.astype(np.int64) + np.where(written, day, 1) - 1
        written &= (first + (days - first.astype(np.int64))).astype(
            "datetime64[M]"
        ) == first.astype("datetime64[M]")
        size = np.abs(ticks)
        seconds, millis, micros = size < 10**11, size < 10**14, size < 10**17
        times = [
            np.where(seconds, ticks, 0) * MICRO,
            np.where(millis, ticks, 0) * 1_000,
            ticks,
        ]
        return Converted(
            _int64(
                np.select(
                    [written, seconds, millis, micros], [days * _DAY_US, *times], ticks // 1_000
                ),
                missing,
            ),
            np.zeros(len(array), np.bool_),
        )
    values = _finite(array.cast(pa.float64(), safe=False))
    missing = mask(pc.is_null(values))
    number = pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False)
    magnitude = np.abs(number)
    factor = np.select(
        [magnitude < 1e11, magnitude < 1e14, magnitude < 1e17], [1e6, 1e3, 1.0], 1e-3
    )
    scaled = np.rint(number * factor)
    unfit = np.abs(scaled) >= 2.0**63
    return Converted(_int64(np.where(unfit, 0.0, scaled).astype(np.int64), missing | unfit), unfit)

"""Names of segments that a marketing or network colleague understands, by fixed templates.

The same profiles give the same names on every engine: nothing is drawn, ties go by the order of
the features. Strength is the position among everybody (``FeatureProfile.position``), because a z
score is drowned by one huge customer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segpipe.report.profile import FeatureProfile, SegmentProfile

NOISE = "No segment"
EVERYBODY = "Everybody"
CLEAR = 0.3
"""|2 position - 1| from which a feature is worth a word: a typical member stands above the 65th or
below the 35th percentile."""
MOST = 0.8
"""Share of a category level from which a segment is called after it, if others have it less."""

_UNIT = re.compile(r"\s*[(\[][^)\]]*[)\]]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FILLERS = frozenset(
    {"annual", "score", "total", "mean", "average", "avg", "amount", "amt"}
    | {"value", "number", "num", "count", "cnt", "median", "std", "sum"}
)


@dataclass(frozen=True, slots=True)
class _Words:
    """How a known feature is spoken of; ``slot`` orders the words of a name."""

    idea: str
    """Features of one idea are said once."""
    slot: int
    high: str
    low: str


# Customers: "<recency> <tenure> <rhythm> <who> <with what>", e.g. "Recent frequent big spenders".
_WHO = 4
_CUSTOMER = {
    "recency_days": _Words("recency", 0, "lapsed", "recent"),
    "tenure_days": _Words("tenure", 1, "long-standing", "new"),
    "single_purchase": _Words("rhythm", 2, "one-time", ""),
    "frequency": _Words("rhythm", 2, "frequent", "occasional"),
    "orders": _Words("rhythm", 2, "frequent", "occasional"),
    "orders_per_month": _Words("rhythm", 2, "frequent", "occasional"),
    "active_months_ratio": _Words("rhythm", 2, "steady", "occasional"),
    "active_months": _Words("rhythm", 2, "steady", "occasional"),
    "monetary_total": _Words("money", _WHO, "big spenders", "small spenders"),
    "monetary": _Words("money", _WHO, "big spenders", "small spenders"),
    "monetary_mean": _Words("money", _WHO, "big spenders", "small spenders"),
    "basket_value": _Words("money", _WHO, "big spenders", "small spenders"),
    "basket_items": _Words("basket", 5, "with large baskets", "with small baskets"),
    "return_rate": _Words("returns", 5, "with many returns", ""),
    "discount_share": _Words("discount", 5, "hunting discounts", "paying full price"),
    "weekend_share": _Words("weekend", 5, "on weekends", "on weekdays"),
    "trend_90d": _Words("trend", 5, "on the rise", "on the decline"),
    "category_entropy": _Words("variety", 5, "of many categories", "of one category"),
    "distinct_categories": _Words("variety", 5, "of many categories", "of one category"),
    "top_category_share": _Words("variety", 5, "of one category", "of many categories"),
}
# Everything else: "<words>, <words>".
_GENERAL = {
    "age": _Words("age", 0, "older", "young"),
    "duration": _Words("duration", 0, "long", "short"),
    "src_bytes": _Words("sent", 1, "much sent", "little sent"),
    "dst_bytes": _Words("received", 1, "much received", "little received"),
    "upload_ratio": _Words("direction", 1, "mostly uploads", "mostly downloads"),
    "bytes_ratio": _Words("direction", 1, "mostly uploads", "mostly downloads"),
    "fan_out": _Words("fan-out", 1, "many targets", "few targets"),
    "port_fan_out": _Words("ports", 1, "many ports", "few ports"),
}
_RFM = ("recency_days", "frequency", "monetary_total", "monetary", "monetary_mean", "orders")
_PREFIXES = ("log_", "log1p_", "ln_")


def humanise(column: str) -> str:
    """A column name as people say it: "Annual Income (k$)" -> "annual income"."""
    if column.endswith("_isna"):
        return f"missing {humanise(column.removesuffix('_isna'))}"
    bare = _UNIT.sub("", column).strip() or column
    words = re.split(r"[\s_./-]+", _CAMEL.sub(" ", bare))
    return " ".join(w if w.isupper() and len(w) < 4 else w.lower() for w in words if w) or column


def name_segments(profiles: Sequence[SegmentProfile]) -> dict[int, str]:
    """Segment id -> a short unique name; noise (-1) is "No segment", a single segment "Everybody".

    Tables with at least two of recency, frequency and money speak of customers; pixel tables give
    hex colours; others say which features are high or low. Two segments with the same strongest
    features are told apart by the next ones, and by a number only if nothing differs.
    """
    real = [p for p in profiles if p.id >= 0]
    names = {p.id: NOISE for p in profiles if p.id < 0}
    if len(real) == 1:
        return names | {real[0].id: EVERYBODY}
    colours = {p.id: _hex(p) for p in real}
    if real and all(colours.values()):
        drafts = {p.id: [colours[p.id] or ""] for p in real}
    else:
        words = _vocabulary([f.name for p in real for f in p.features])
        drafts = {p.id: _drafts(p, *words) for p in real}
    return names | _unique(drafts, {p.id: p for p in real})


def _vocabulary(columns: Sequence[str]) -> tuple[dict[str, _Words], bool]:
    """Words for every column, and whether the table is one of customers."""
    plain = {c: _plain(c) for c in dict.fromkeys(columns)}
    customers = len({_CUSTOMER[p].idea for p in plain.values() if p in _RFM}) >= 2
    known = _CUSTOMER if customers else _GENERAL
    return {c: known.get(p) or _unknown(c, plain) for c, p in plain.items()}, customers


def _plain(column: str) -> str:
    name = re.sub(r"[^0-9a-z]+", "_", _UNIT.sub("", _CAMEL.sub("_", column)).lower()).strip("_")
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _unknown(column: str, plain: Mapping[str, str]) -> _Words:
    """High and low income: fillers such as "annual" go if the rest is still one column's."""
    said = humanise(column)
    short = _short(said)
    if sum(_short(humanise(other)) == short for other in plain) > 1:
        short = said
    # In the table's own order, so that all segments of a run are named alike.
    slot = 10 + list(plain).index(column)
    return _Words(short, slot, f"high {short}", f"low {short}")


def _short(said: str) -> str:
    return " ".join(w for w in said.split() if w not in _FILLERS) or said


def _strength(feature: FeatureProfile) -> float:
    return 2 * feature.position - 1


def _drafts(profile: SegmentProfile, words: Mapping[str, _Words], customers: bool) -> list[str]:
    """Names of the segment from the shortest to the most detailed."""
    ideas: dict[str, tuple[float, _Words]] = {}
    for feature in profile.features:
        said, strength = words[feature.name], _strength(feature)
        heard = ideas.get(said.idea)
        if (said.high if strength > 0 else said.low) and (
            heard is None or abs(strength) > abs(heard[0])
        ):
            ideas[said.idea] = (strength, said)
    ranked = sorted(ideas.values(), key=lambda i: -abs(round(i[0], 6)))
    clear = [i for i in ranked if abs(i[0]) >= CLEAR]
    level = next((lv for lv in profile.levels if lv.share >= MOST and lv.usual < MOST / 2), None)
    found = [_level_words(level.feature, level.level)] if level and not customers else []
    build = _customer if customers else _general
    usual = 3 if customers else 2 - len(found)
    first = build(clear[:usual], found)
    more = [build(ranked[:n], found) for n in range(len(clear[:usual]) + 1, len(ranked) + 1)]
    return list(dict.fromkeys([first, *more]))


def _level_words(feature: str, level: str) -> str:
    """Levels as short as "UK" need their column's name to be understood: "country UK"."""
    return level if len(level) > 3 else f"{humanise(feature)} {level}"


def _spoken(ideas: Sequence[tuple[float, _Words]]) -> list[tuple[int, str]]:
    said = [(w.slot, w.high if strength > 0 else w.low) for strength, w in ideas]
    return sorted(said, key=lambda s: s[0])


def _customer(ideas: Sequence[tuple[float, _Words]], _: Sequence[str]) -> str:
    said = _spoken(ideas)
    before = [w for slot, w in said if slot < _WHO]
    who = [w for slot, w in said if slot == _WHO] or ["customers"]
    after = [w for slot, w in said if slot > _WHO]
    if not before and not after and who == ["customers"]:
        return "Average customers"
    return _capital(" ".join([*before, *who, " and ".join(after)]).strip())


def _general(ideas: Sequence[tuple[float, _Words]], levels: Sequence[str]) -> str:
    return _capital(", ".join([*levels, *(w for _, w in _spoken(ideas))])) or "Average"


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _unique(
    drafts: Mapping[int, Sequence[str]], profiles: Mapping[int, SegmentProfile]
) -> dict[int, str]:
    """The shortest draft of each segment that no other segment bears; then what differs most."""
    level = dict.fromkeys(drafts, 0)
    while True:
        names = {s: drafts[s][min(n, len(drafts[s]) - 1)] for s, n in level.items()}
        clash = [s for s, name in names.items() if list(names.values()).count(name) > 1]
        longer = [s for s in clash if level[s] + 1 < len(drafts[s])]
        if not longer:
            break
        for s in longer:
            level[s] += 1
    for name in dict.fromkeys(names.values()):
        same = [s for s in sorted(names) if names[s] == name]
        if len(same) == 2:
            names |= _compared(name, profiles[same[0]], profiles[same[1]])
    taken: dict[str, int] = {}
    for s in sorted(names):
        name = names[s]
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:
            names[s] = f"{name} ({taken[name]})"
    return names


def _compared(name: str, one: SegmentProfile, two: SegmentProfile) -> dict[int, str]:
    """Two segments of one name, told apart by the feature in which they stand farthest apart."""
    gaps = [
        (f.position - g.position, f.name)
        for f, g in zip(one.features, two.features, strict=True)
        if abs(f.position - g.position) > 1e-6
    ]
    if not gaps:
        return {}
    gap, feature = max(gaps, key=lambda g: abs(round(g[0], 6)))
    more, less = (one, two) if gap > 0 else (two, one)
    said = humanise(feature)
    return {more.id: f"{name}, higher {said}", less.id: f"{name}, lower {said}"}


def _hex(profile: SegmentProfile) -> str | None:
    """The mean colour of a pixel segment, or None if its features are no colour."""
    mean = {f.name.lower(): f.mean for f in profile.features}
    if {"r", "g", "b"} <= mean.keys() and len(mean) == 3:
        rgb = [mean[c] for c in "rgb"]
        return None if None in rgb else _hex_of([float(v or 0.0) for v in rgb])
    axes = ("l", "a", "b") if {"l", "a", "b"} <= mean.keys() else ("lab_l", "lab_a", "lab_b")
    lab = [mean.get(c) for c in axes]
    if len(mean) != 3 or None in lab:
        return None
    return lab_hex(*(float(v or 0.0) for v in lab))


def lab_hex(lightness: float, a: float, b: float) -> str:
    """Hex of a CIE Lab colour (D65, 2 degrees); colours outside sRGB are clipped."""
    fy = (lightness + 16) / 116
    xyz = [
        white * (f**3 if f > 6 / 29 else 3 * (6 / 29) ** 2 * (f - 4 / 29))
        for white, f in zip((0.95047, 1.0, 1.08883), (fy + a / 500, fy, fy - b / 200), strict=True)
    ]
    # IEC 61966-2-1: XYZ to linear sRGB, then its transfer curve.
    matrix = (
        (3.24048134, -1.53715152, -0.49853633),
        (-0.96925495, 1.87599, 0.04155593),
        (0.05564664, -0.20404134, 1.05731107),
    )
    linear = [sum(m * v for m, v in zip(row, xyz, strict=True)) for row in matrix]
    return _hex_of(
        [255 * (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055) for v in linear]
    )


def _hex_of(rgb: Sequence[float]) -> str:
    return "#" + "".join(f"{min(255, max(0, round(v))):02x}" for v in rgb)

"""Names of segments that a marketing or network colleague understands, by fixed templates.

The same profiles give the same names on every engine: nothing is drawn, ties go by the order of
the features. Strength follows the position among everybody (``FeatureProfile.position``), because
a z score is drowned by one huge customer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from segpipe.report.profile import FeatureProfile, SegmentProfile
from segpipe.report.words import ASIDE, WHO, Words, humanise, level_words, vocabulary

NOISE = "No segment"
EVERYBODY = "Everybody"
CLEAR = 0.3
"""Strength from which a feature is worth a word: a typical member stands about 15 percentiles above
or below the usual."""
WEAK = 0.1
"""Strength that still counts where two segments must be told apart."""
MOST = 0.8
"""Share of a category level from which a segment is called after it, if others have it less."""


@dataclass(frozen=True, slots=True)
class _Idea:
    """Something worth saying of a segment."""

    strength: float
    words: Words
    very: bool = False

    @property
    def said(self) -> str:
        return ("very " if self.very else "") + (
            self.words.high if self.strength > 0 else self.words.low
        )


@dataclass(frozen=True, slots=True)
class _Draft:
    """What a segment's name says: at once, and if that is not enough."""

    first: tuple[_Idea, ...]
    more: tuple[_Idea, ...]
    levels: tuple[str, ...]
    customers: bool

    def names(self) -> list[str]:
        """From the shortest to the most detailed."""
        build = _customer if self.customers else _general
        found = [
            build([*self.first, *self.more[:n]], self.levels) for n in range(len(self.more) + 1)
        ]
        return list(dict.fromkeys(found))


def name_segments(profiles: Sequence[SegmentProfile]) -> dict[int, str]:
    """Segment id -> a short unique name; noise (-1) is "No segment", a single segment "Everybody".

    Tables with at least two of recency, frequency and money speak of customers; pixel tables give
    hex colours; others say which features are high or low. Two segments with the same strongest
    features are told apart by degree ("very big spenders"), then by the next features, and by a
    number only if nothing differs.
    """
    real = sorted((p for p in profiles if p.id >= 0), key=lambda p: p.id)
    names = {p.id: NOISE for p in profiles if p.id < 0}
    if len(real) == 1 and _hex(real[0]) is None:
        return names | {real[0].id: EVERYBODY}
    colours = {p.id: _hex(p) for p in real}
    if all(colours.values()):
        found = {p.id: [colours[p.id] or ""] for p in real}
    else:
        middle = _middles(real)
        known, customers = vocabulary([f.name for p in real for f in p.features])
        drafts = {p.id: _draft(p, middle, known, customers) for p in real}
        found = {s: draft.names() for s, draft in _by_degree(drafts).items()}
    return names | _unique(found, {p.id: p for p in real})


def _strength(feature: FeatureProfile, middle: float) -> float:
    """How far a typical member stands from everybody and, to a lesser part, from other segments.

    Where half of the customers came once, all other segments are "frequent"; what tells one apart
    is how it stands among them. But nothing is called high that is low among everybody.
    """
    apart, place = feature.position - middle, feature.position - 0.5
    strength = 1.4 * place + 0.6 * apart
    return strength if strength * place > 0 else 0.0


def _middles(profiles: Sequence[SegmentProfile]) -> dict[str, float]:
    """Feature -> mean position over the segments, each counted once."""
    held: dict[str, list[float]] = {}
    for feature in (f for p in profiles for f in p.features):
        held.setdefault(feature.name, []).append(feature.position)
    return {name: sum(places) / len(places) for name, places in held.items()}


def _draft(
    profile: SegmentProfile,
    middle: Mapping[str, float],
    words: Mapping[str, Words],
    customers: bool,
) -> _Draft:
    ideas: dict[str, _Idea] = {}
    for feature in profile.features:
        strength = _strength(feature, middle[feature.name])
        said = words[feature.name].borne_out(feature.mean)
        if said.flag and strength > 0 and (feature.mean or 0.0) >= MOST:
            strength = 1.0
        heard = ideas.get(said.idea)
        if (said.high if strength > 0 else said.low) and (
            heard is None or abs(strength) > abs(heard.strength)
        ):
            ideas[said.idea] = _Idea(strength, said)
    ranked = sorted(ideas.values(), key=lambda i: -abs(round(i.strength, 6)))
    clear = [i for i in ranked if abs(i.strength) >= CLEAR]
    level = next((lv for lv in profile.levels if lv.share >= MOST and lv.usual < MOST / 2), None)
    found = (level_words(level.feature, level.level),) if level and not customers else ()
    if customers:
        core = [i for i in clear if i.words.slot <= WHO]
        first = core[:3] or [i for i in clear if i.words.slot == ASIDE][:1]
        # Known words before unknown ones, which make clumsy names.
        ranked.sort(key=lambda i: max(i.words.slot, ASIDE))
    else:
        first = clear[: 2 - len(found)]
    more = [i for i in ranked if i not in first and abs(i.strength) >= WEAK]
    return _Draft(tuple(first), tuple(more), found, customers)


def _by_degree(drafts: Mapping[int, _Draft]) -> dict[int, _Draft]:
    """Where two segments would bear one name, "very" for the one that is clearly more of it."""
    told = dict(drafts)
    names = {s: draft.names()[0] for s, draft in drafts.items()}
    for name in dict.fromkeys(names.values()):
        pair = [s for s in drafts if names[s] == name]
        if len(pair) != 2:
            continue
        gaps = [
            (abs(one.strength) - abs(two.strength), i, two.words)
            for i, one in enumerate(drafts[pair[0]].first)
            for two in drafts[pair[1]].first
            if one.words.idea == two.words.idea
            and two.words.slot != ASIDE
            and not two.words.flag
            # "Very mostly" is no English.
            and not any(two.words.fewer)
        ]
        if not gaps:
            continue
        gap, _, words = max(gaps, key=lambda g: (abs(round(g[0], 6)), -g[1]))
        if abs(gap) >= WEAK:
            more = pair[0] if gap > 0 else pair[1]
            first = tuple(replace(i, very=i.words.idea == words.idea) for i in drafts[more].first)
            told[more] = replace(drafts[more], first=first)
    return told


def _spoken(ideas: Sequence[_Idea]) -> list[tuple[int, str]]:
    return [(i.words.slot, i.said) for i in sorted(ideas, key=lambda i: i.words.slot)]


def _customer(ideas: Sequence[_Idea], _: Sequence[str]) -> str:
    said = _spoken(ideas)
    before = [w for slot, w in said if slot < WHO]
    who = [w for slot, w in said if slot == WHO] or ["customers"]
    after = [w if slot == ASIDE else f"with {w}" for slot, w in said if slot > WHO]
    if not before and not after and who == ["customers"]:
        return "Average customers"
    return _capital(" ".join([*before, *who, " and ".join(after)]).strip())


def _general(ideas: Sequence[_Idea], levels: Sequence[str]) -> str:
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

"""The words of segment names: how known features are spoken of, and unknown columns humanised."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

_UNIT = re.compile(r"\s*[(\[][^)\]]*[)\]]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_FILLERS = frozenset(
    {"annual", "score", "total", "mean", "average", "avg", "amount", "amt"}
    | {"value", "number", "num", "count", "cnt", "median", "std", "sum"}
)


@dataclass(frozen=True, slots=True)
class Words:
    """How a known feature is spoken of; ``slot`` orders the words of a name."""

    idea: str
    """Features of one idea are said once."""
    slot: int
    high: str
    low: str
    flag: bool = False
    """0 or 1 per row: says its idea best where nearly all rows of a segment are 1."""
    fewer: tuple[str, str] = ("", "")
    """Of a share: high and low where less, or more, than half of a segment's rows bear it out."""

    def borne_out(self, mean: float | None) -> Words:
        """The words that a segment with this mean deserves: "mostly" asks for more than half."""
        if mean is None or not any(self.fewer):
            return self
        high, low = self.fewer
        return replace(self, high=high) if mean < 0.5 else replace(self, low=low)


# Customers: "<recency> <tenure> <rhythm> <who> <with what>", e.g. "Recent frequent big spenders".
WHO, ASIDE = 4, 5
_CUSTOMER = {
    "recency_days": Words("recency", 0, "lapsed", "recent"),
    "tenure_days": Words("tenure", 1, "long-standing", "new"),
    "single_purchase": Words("rhythm", 2, "one-time", "", flag=True),
    "frequency": Words("rhythm", 2, "frequent", "occasional"),
    "orders": Words("rhythm", 2, "frequent", "occasional"),
    "orders_per_month": Words("rhythm", 2, "frequent", "occasional"),
    "active_months_share": Words("rhythm", 2, "frequent", "occasional"),
    "interpurchase_mean_days": Words("rhythm", 2, "occasional", "frequent"),
    "monetary_total": Words("money", WHO, "big spenders", "small spenders"),
    "monetary": Words("money", WHO, "big spenders", "small spenders"),
    "monetary_mean": Words("money", WHO, "big spenders", "small spenders"),
    "monetary_std": Words("money", WHO, "big spenders", "small spenders"),
    "basket_items": Words("basket", ASIDE, "with large baskets", "with small baskets"),
    "basket_median": Words("basket", ASIDE, "with large baskets", "with small baskets"),
    "lateness": Words("recency", 0, "overdue", ""),
    "return_rate": Words("returns", ASIDE, "with many returns", ""),
    "discount_share": Words("discount", ASIDE, "hunting discounts", "paying full price"),
    "weekend_share": Words("weekend", ASIDE, "on weekends", "on weekdays"),
    "night_share": Words("night", ASIDE, "at night", ""),
    "trend_90d": Words("trend", ASIDE, "on the rise", "on the decline"),
    "category_entropy": Words("variety", ASIDE, "of many categories", "of one category"),
    "distinct_categories": Words("variety", ASIDE, "of many categories", "of one category"),
    "top_category_share": Words("variety", ASIDE, "of one category", "of many categories"),
}
_FAILURES = ("many failures", "few failures")
# Everything else: "<words>, <words>".
_GENERAL = {
    "age": Words("age", 0, "older", "young"),
    "duration": Words("duration", 0, "long", "short"),
    "src_bytes": Words("sent", 1, "much sent", "little sent"),
    "dst_bytes": Words("received", 1, "much received", "little received"),
    "upload_ratio": Words("direction", 1, "upload-heavy", "download-heavy"),
    "bytes_ratio": Words("direction", 1, "upload-heavy", "download-heavy"),
    "fan_out": Words("fan-out", 1, "many targets", "few targets"),
    "port_fan_out": Words("ports", 1, "many ports", "few ports"),
    "n_conn": Words("connections", 0, "busy", "quiet"),
    "bytes_out": Words("sent", 1, "much sent", "little sent"),
    "bytes_in": Words("received", 1, "much received", "little received"),
    "max_bytes_out": Words("sent", 1, "much sent", "little sent"),
    "max_bytes_in": Words("received", 1, "much received", "little received"),
    "active_hours": Words("hours", 0, "active for many hours", "active briefly"),
    "night_share": Words("night", 2, "at night", "by day"),
    "dst_entropy": Words("fan-out", 1, "many targets", "few targets"),
    "port_entropy": Words("ports", 1, "many ports", "few ports"),
    "distinct_services": Words("services", 1, "many services", "one service"),
    "service_entropy": Words("services", 1, "many services", "one service"),
    "failed_share": Words("failures", 1, "mostly failed", "mostly answered", fewer=_FAILURES),
    "beacon_regularity": Words("rhythm", 2, "regular as a clock", ""),
    "size_regularity": Words("sizes", 2, "equal sizes", ""),
    "rare_service_share": Words("rare services", 2, "rare services", ""),
}
_GENERAL |= {
    f"{which}_failed": Words("failures", 1, "mostly failed", "", fewer=(_FAILURES[0], ""))
    for which in ("src", "dst", "pair", "src_1m", "dst_1m", "src_last100", "dst_last100")
}
_GENERAL |= {
    "src_rarity": Words("source", 2, "rare sources", "busy sources"),
    "dst_rarity": Words("destination", 2, "rare destinations", "popular destinations"),
    "pair_rarity": Words("pair", 2, "rare pairs", "frequent pairs"),
}
RARITIES = frozenset({"src_rarity", "dst_rarity", "pair_rarity"})
"""Columns of ours that hold -ln of a share; a column of the user's may end alike."""
_SIDES = {"src": "from this source", "dst": "to this destination", "pair": "between these two"}
_MEASURES = {
    "count": "connections",
    "dsts": "distinct destinations",
    "srcs": "distinct sources",
    "ports": "distinct ports",
    "bytes": "bytes",
    "failed": "share of failed connections",
    "same_service": "share of connections to this service",
    "dst_entropy": "spread over destinations (bits)",
    "src_entropy": "spread over sources (bits)",
    "port_entropy": "spread over ports (bits)",
    "rarity": "rarity of connections",
    "gap": "seconds since the last connection",
}
_WINDOWS = {"10s": "in 10 s", "1m": "in 1 min", "10m": "in 10 min", "last100": "of the last 100"}
_MOVING = re.compile(rf"({'|'.join(_SIDES)})_(?:({'|'.join(_WINDOWS)})_)?({'|'.join(_MEASURES)})")
_RFM = ("recency_days", "frequency", "monetary_total", "monetary", "monetary_mean", "orders")
_ACRONYMS = frozenset(
    {"tcp", "udp", "icmp", "dns", "http", "https", "ssl", "tls", "ssh", "smtp", "imap", "pop3"}
    | {"ftp", "smb", "ntp", "rdp", "snmp", "ldap", "dhcp", "sip", "irc"}
)
_PREFIXES = ("log_", "log1p_", "ln_")


def humanise(column: str) -> str:
    """A column name as people say it: "Annual Income (k$)" -> "annual income"."""
    moving = _MOVING.fullmatch(column)
    if moving:
        side, window, measure = moving.groups()
        said = f"{_MEASURES[measure]} {_SIDES[side]}"
        return f"{said} {_WINDOWS[window]}" if window else said
    if column.endswith("_isna"):
        return f"missing {humanise(column.removesuffix('_isna'))}"
    bare = _UNIT.sub("", column).strip() or column
    words = re.split(r"[\s_./-]+", _CAMEL.sub(" ", bare))
    return " ".join(w if w.isupper() and len(w) < 4 else w.lower() for w in words if w) or column


def vocabulary(columns: Sequence[str]) -> tuple[dict[str, Words], bool]:
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


def _unknown(column: str, plain: Mapping[str, str]) -> Words:
    """High and low income: fillers such as "annual" go if the rest is still one column's."""
    said = humanise(column)
    short = _short(said)
    if sum(_short(humanise(other)) == short for other in plain) > 1:
        short = said
    # In the table's own order, so that all segments of a run are named alike.
    slot = 10 + list(plain).index(column)
    return Words(short, slot, f"high {short}", f"low {short}")


def _short(said: str) -> str:
    return " ".join(w for w in said.split() if w not in _FILLERS) or said


def level_words(feature: str, level: str) -> str:
    """Levels as short as "UK" need their column's name to be understood: "country UK"."""
    if level.strip("()").lower() == "missing":
        return f"unknown {humanise(feature)}"
    if level.lower() in _ACRONYMS:
        return level.upper()
    return level if len(level) > 3 else f"{humanise(feature)} {level}"

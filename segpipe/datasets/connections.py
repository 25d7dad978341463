"""Connections of an office network, a day per chunk, with four kinds of attack planted in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.datasets.chunk import DAY_US, TIME, Chunk, chosen, draws, lognormal, numbered
from segpipe.values import Floats

START = np.datetime64("2026-01-05", "us")
"""A Monday; one chunk is one day, whatever rows it holds."""
CLIENTS = 400
ATTACKS = ["normal", "scan", "flood", "exfiltration", "beaconing"]
SHARES = (0.008, 0.008, 0.001, 0.003)
"""Of the rows: scan, flood, exfiltration, beaconing; 2 % together, at least a row of each."""
STATES = ["SF", "S0", "REJ", "RSTO", "OTH"]
"""Zeek's conn_state: whole, no answer, refused, broken off by the origin, other."""
PROTOS = ["tcp", "udp", "icmp"]


@dataclass(frozen=True, slots=True)
class Service:
    """Medians and spreads (of the natural log) of what one service sends."""

    name: str | None
    proto: str
    port: int
    share: float
    seconds: float
    sent: float
    received: float
    spread: float
    failing: float
    """Share of attempts that end as S0 or REJ."""
    servers: int
    """Distinct servers; popular ones are met most."""
    inside: bool


SERVICES = (
    Service("dns", "udp", 53, 0.34, 0.03, 44, 130, 0.5, 0.01, 2, True),
    Service("ssl", "tcp", 443, 0.36, 8.0, 1900, 9000, 1.3, 0.02, 3000, False),
    Service("http", "tcp", 80, 0.09, 0.6, 600, 5500, 1.2, 0.03, 1500, False),
    Service("smb", "tcp", 445, 0.05, 20.0, 6000, 14000, 1.5, 0.02, 4, True),
    Service("ntp", "udp", 123, 0.05, 0.05, 48, 48, 0.1, 0.01, 3, False),
    Service("smtp", "tcp", 25, 0.02, 2.0, 9000, 800, 1.4, 0.04, 2, True),
    Service("ssh", "tcp", 22, 0.02, 90.0, 4500, 7000, 1.5, 0.03, 20, True),
    Service("imap", "tcp", 993, 0.03, 30.0, 1200, 6000, 1.2, 0.01, 2, True),
    Service(None, "icmp", 0, 0.03, 0.4, 112, 112, 0.4, 0.10, 60, True),
    Service(None, "tcp", 8443, 0.01, 5.0, 1500, 5000, 1.4, 0.08, 30, True),
)
NAMES = [s.name for s in SERVICES]
_SSL, _HTTP, _NONE = 1, 2, 9

Fields = dict[str, npt.NDArray[np.generic]]


def chunks(rows: int, seed: int) -> Iterator[Chunk]:
    """A file per day; rows by time. Addresses are of ranges reserved for private use and tests."""
    plain = ("uid", "ts", "duration", "src_bytes", "dst_bytes")
    done = 0
    for number, n, rng in draws(rows, seed):
        counts = [max(1, round(share * n)) for share in SHARES] if n > len(SHARES) else [0] * 4
        parts = [_normal(n - sum(counts), rng)]
        makers = (_scan, _flood, _exfiltration, _beaconing)
        parts += [make(count, rng) for make, count in zip(makers, counts, strict=True) if count]
        fields = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        attack = np.repeat(np.arange(len(parts)), [len(part["ts"]) for part in parts])
        order = np.argsort(fields["ts"], kind="stable")
        uid = numbered("C", done + np.arange(n), 12)
        table = _table(number, uid, {k: v[order] for k, v in fields.items()})
        truth = pa.table({"uid": uid, "attack": chosen(ATTACKS, attack[order])})
        yield Chunk(f"{number:05d}", table, truth, plain)
        done += n


def _table(day: int, uid: pa.Array, f: Fields) -> pa.Table:
    service = f["service"].astype(np.int64)
    stamp = START.astype(np.int64) + day * DAY_US + f["ts"].astype(np.int64)
    answered = np.isin(f["state"], (STATES.index("SF"), STATES.index("RSTO")))
    names = pa.array(NAMES).take(pa.array(service))
    return pa.table(
        {
            "uid": uid,
            "ts": pa.array(stamp).cast(TIME),
            "src": _addresses(f["src"].astype(np.int64)),
            "src_port": f["src_port"].astype(np.int32),
            "dst": _addresses(f["dst"].astype(np.int64)),
            "dst_port": f["dst_port"].astype(np.int32),
            "proto": chosen(PROTOS, f["proto"].astype(np.int64)),
            # A service is only known where somebody answered.
            "service": pc.if_else(pa.array(answered), names, pa.scalar(None, pa.string())),
            "flag": chosen(STATES, f["state"].astype(np.int64)),
            "duration": np.round(f["duration"].astype(np.float64), 6),
            **{
                name: np.rint(f[name].astype(np.float64)).astype(np.int64)
                for name in ("src_bytes", "dst_bytes", "src_packets", "dst_packets")
            },
        }
    )


# Addresses are numbers here: hosts of 10.0.0.0/16 are clients, of 10.1.0.0/16 servers inside, of
# 198.18.0.0/15 servers outside (RFC 2544) and of 203.0.113.0/24 strangers (RFC 5737).
_CLIENT, _INSIDE, _OUTSIDE, _STRANGER = 10 << 24, (10 << 24) + (1 << 16), 0xC6120000, 0xCB007100


def _addresses(numbers: npt.NDArray[np.int64]) -> pa.Array:
    values, codes = np.unique(numbers, return_inverse=True)
    texts = [".".join(str(v >> shift & 255) for shift in (24, 16, 8, 0)) for v in values.tolist()]
    return chosen(texts, codes)


def _popular(rng: np.random.Generator, size: int, among: npt.NDArray[np.int64]) -> Floats:
    """Indexes below ``among``: about Zipf's law, so that a few servers take most of the traffic."""
    picked: Floats = np.floor(among ** rng.random(size)) - 1
    return np.clip(picked, 0, among - 1)


def _clock(rng: np.random.Generator, size: int) -> npt.NDArray[np.int64]:
    """Microseconds of a day: half of the traffic all day long, the rest in office hours."""
    hours = np.where(
        rng.random(size) < 0.35,
        rng.uniform(0.0, 24.0, size),
        np.clip(
            np.where(rng.random(size) < 0.5, 10.5, 14.8) + 1.7 * rng.standard_normal(size), 0, 23.9
        ),
    )
    return (hours * 3.6e9).astype(np.int64)


def _normal(n: int, rng: np.random.Generator) -> Fields:
    share = np.array([s.share for s in SERVICES])
    service = rng.choice(len(SERVICES), n, p=share / share.sum())

    def of(field: str) -> npt.NDArray[np.generic]:
        return np.array([getattr(s, field) for s in SERVICES])[service]

    spread = of("spread").astype(np.float64)
    # One latent size makes long flows large: bytes and seconds of a flow go together.
    size = rng.standard_normal(n)
    own = rng.standard_normal((3, n))
    seconds = of("seconds") * np.exp(spread * (0.6 * size + 0.8 * own[0]))
    sent = of("sent") * np.exp(spread * (0.8 * size + 0.4 * own[1]))
    received = of("received") * np.exp(spread * (0.8 * size + 0.6 * own[2]))
    fate = rng.random(n)
    failing = of("failing").astype(np.float64)
    tcp = of("proto") == "tcp"
    state = np.select(
        [fate < failing * 0.6, (fate < failing) & tcp, (fate > 0.97) & tcp, fate > 0.995],
        [STATES.index(s) for s in ("S0", "REJ", "RSTO", "OTH")],
        STATES.index("SF"),
    )
    dead = (state == STATES.index("S0")) | (state == STATES.index("REJ"))
    sent, received = np.where(dead & tcp, 0, sent), np.where(dead, 0, received)
    seconds = np.where(dead, np.where(rng.random(n) < 0.5, 0.0, rng.exponential(3.0, n)), seconds)
    server = _popular(rng, n, of("servers").astype(np.int64))
    base = np.where(of("inside").astype(bool), _INSIDE + service * 256, _OUTSIDE)
    return {
        "ts": _clock(rng, n),
        "src": _CLIENT + 1 + _popular(rng, n, np.full(n, CLIENTS)),
        "src_port": rng.integers(32768, 61000, n),
        "dst": base + 1 + server,
        "dst_port": of("port"),
        "proto": np.array([PROTOS.index(s.proto) for s in SERVICES])[service],
        "service": service,
        "state": state,
        "duration": np.minimum(seconds, 86_400.0),
        "src_bytes": sent,
        "dst_bytes": received,
        "src_packets": _packets(sent, tcp),
        "dst_packets": np.where(dead, state == STATES.index("REJ"), _packets(received, tcp)),
    }


def _packets(size: Floats, tcp: npt.NDArray[np.bool_]) -> Floats:
    """Full segments, acknowledgements, and the three of TCP's opening and closing."""
    return np.ceil(size / 1300.0) + np.where(tcp, 3.0, 0.0) + (size <= 0)


def _attack(n: int, ts: npt.NDArray[np.int64], service: int, **fields: object) -> Fields:
    """``n`` rows of which ``fields`` say what is not usual."""
    of = SERVICES[service]
    usual: dict[str, object] = {
        "ts": np.clip(ts, 0, DAY_US - 1),
        "dst_port": of.port,
        "proto": PROTOS.index(of.proto),
        "service": service,
        "state": STATES.index("SF"),
    }
    # float64 holds every field exactly, addresses and times of a day included (below 2^53)
    return {
        k: np.broadcast_to(np.asarray(v), n).astype(np.float64) for k, v in (usual | fields).items()
    }


def _campaigns(n: int, each: int) -> npt.NDArray[np.int64]:
    """Campaign number of every row: about ``each`` rows per campaign, at least one campaign."""
    return np.arange(n) * max(1, round(n / each)) // max(n, 1)


def _scan(n: int, rng: np.random.Generator) -> Fields:
    """One source tries many ports of a host, or one port of many hosts; hardly anybody answers."""
    of = _campaigns(n, 400)
    many = int(of[-1]) + 1
    start, source = rng.uniform(0, 23, many) * 3.6e9, _STRANGER + 1 + rng.integers(0, 40, many)
    sweep = rng.random(many) < 0.5
    ts = start[of] + np.cumsum(rng.exponential(0.08, n)) % 900 * 1e6
    refused = rng.random(n) < 0.35
    return _attack(
        n,
        ts.astype(np.int64),
        _NONE,
        src=source[of],
        src_port=rng.integers(32768, 61000, many)[of],
        dst=np.where(sweep[of], _CLIENT + 1 + rng.integers(0, 4096, n), _INSIDE + 1 + of),
        dst_port=np.where(
            sweep[of], rng.choice([22, 445, 3389, 23], many)[of], rng.integers(1, 10_000, n)
        ),
        state=np.where(refused, STATES.index("REJ"), STATES.index("S0")),
        duration=np.where(refused, rng.exponential(0.002, n), 0.0),
        src_bytes=0,
        dst_bytes=0,
        src_packets=1,
        dst_packets=refused,
    )


def _flood(n: int, rng: np.random.Generator) -> Fields:
    """Thousands of half-open connections to one web server within a minute, sources forged."""
    of = _campaigns(n, 2_000)
    many = int(of[-1]) + 1
    ts = (rng.uniform(0, 23.9, many) * 3.6e9)[of] + rng.uniform(0, 60e6, n)
    return _attack(
        n,
        ts.astype(np.int64),
        _HTTP,
        state=STATES.index("S0"),
        src=_STRANGER + 1 + rng.integers(0, 250, n),
        src_port=rng.integers(1024, 65535, n),
        dst=_INSIDE + 80 * 256 + 1 + of % 3,
        duration=0.0,
        src_bytes=0,
        dst_bytes=0,
        src_packets=1,
        dst_packets=0,
    )


def _exfiltration(n: int, rng: np.random.Generator) -> Fields:
    """A client sends hundreds of megabytes to one place outside, mostly at night, over TLS."""
    sent = lognormal(rng, 3e8, 1.0, n)
    return _attack(
        n,
        (rng.uniform(0, 5.5, n) * 3.6e9).astype(np.int64),
        _SSL,
        src=_CLIENT + 1 + rng.integers(0, 6, n),
        src_port=rng.integers(32768, 61000, n),
        dst=_OUTSIDE + 70_000 + rng.integers(0, 3, n),
        duration=sent / lognormal(rng, 2e6, 0.5, n),
        src_bytes=sent,
        dst_bytes=sent * 0.004,
        src_packets=np.ceil(sent / 1400),
        dst_packets=np.ceil(sent / 2800),
    )


def _beaconing(n: int, rng: np.random.Generator) -> Fields:
    """An infected client calls home every five minutes, day and night, with the same few bytes."""
    of = _campaigns(n, 288)
    many = int(of[-1]) + 1
    place = np.arange(n) - np.searchsorted(of, np.arange(many))[of]
    ts = (place + 0.5) * 300e6 * (288 * many / max(n, 288 * many)) + rng.normal(0, 4e6, n)
    return _attack(
        n,
        ts.astype(np.int64),
        _SSL,
        src=_CLIENT + 1 + (rng.integers(0, CLIENTS, many))[of],
        src_port=rng.integers(32768, 61000, n),
        dst=_OUTSIDE + 80_000 + of,
        dst_port=np.where(of % 2 == 0, 443, 4444),
        duration=np.abs(rng.normal(0.25, 0.02, n)),
        src_bytes=rng.integers(206, 214, n),
        dst_bytes=rng.integers(96, 104, n),
        src_packets=5,
        dst_packets=4,
    )

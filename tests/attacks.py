"""Connections of three clients, with a scan and a leak among them."""

import numpy as np
import pyarrow as pa

START = 1_700_000_000


def flows(seed=0, usual=3000):
    rng = np.random.default_rng(seed)
    scan, leak = 30, 20
    n = usual + scan + leak
    part = np.repeat([0, 1, 2], [usual, scan, leak])
    seconds = rng.uniform(0, 86_400, n)
    seconds[part == 1] = 40_000 + np.arange(scan)
    columns = {
        "ts": pa.array(((START + seconds) * 1e6).astype(np.int64)).cast(pa.timestamp("us", "UTC")),
        "src": np.choose(part, [rng.choice(["a", "b", "c"], n), "scanner", "leaker"]),
        "dst": np.where(part == 1, [f"h{i}" for i in range(n)], rng.choice(["x", "y"], n)),
        "dst_port": np.choose(part, [443, 23, 443]).astype(np.int64),
        "proto": ["tcp"] * n,
        "service": np.choose(part, ["ssl", "telnet", "ssl"]),
        "duration": np.choose(part, [rng.lognormal(0, 1, n), 0.0 * part, 900.0 + part]),
        "src_bytes": np.choose(
            part, [rng.lognormal(7, 1, n), 40.0 + 0 * part, 1e9 + rng.random(n)]
        ),
        "dst_bytes": np.choose(part, [rng.lognormal(8, 1, n), 0.0 * part, 500.0 + 0 * part]),
    }
    order = rng.permutation(n)
    return pa.table(columns).take(pa.array(order))

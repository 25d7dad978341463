"""Real customer transactions for the demo: CDNOW, out of the package `lifetimes` (MIT).

    .venv/bin/python scripts/demo_data.py demo-out/data/cdnow.parquet

The package is downloaded with a pinned hash and read as a zip; neither it nor its dependencies are
installed. CDNOW: every purchase until June 1998 of the 23,570 people who first bought at an online
music shop in the first quarter of 1997 (Fader & Hardie 2001).
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

PINS = Path(__file__).parent / "requirements" / "demo.txt"
MEMBER = "lifetimes/datasets/CDNOW_master.txt"


def download(folder: Path) -> Path:
    """The wheel, from the package index that pip is set up with."""
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(folder.glob("*.whl"))
    if not found:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        pinned = ["--no-input", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
        subprocess.run([*pip, *pinned, "-r", str(PINS), "-d", str(folder)], check=True)
        found = sorted(folder.glob("*.whl"))
    return found[-1]


def transactions(text: str) -> pa.Table:
    """Lines "customer date quantity amount": blanks vary, a heading comes first."""
    rows = [line.split() for line in text.splitlines()]
    rows = [row for row in rows if len(row) == 4 and row[0].isdigit()]
    customer, day, quantity, amount = zip(*rows, strict=True)
    return pa.table(
        {
            "customer_id": pa.array([int(c) for c in customer], pa.int64()),
            "ts": pc.strptime(pa.array(day), format="%Y%m%d", unit="us"),
            "quantity": pa.array([int(q) for q in quantity], pa.int64()),
            "amount": pa.array([float(a) for a in amount], pa.float64()),
        }
    )


def main(out: Path) -> None:
    if out.exists():
        return
    wheel = download(out.parent / "downloads")
    with zipfile.ZipFile(wheel) as packed:
        table = transactions(packed.read(MEMBER).decode("ascii"))
    half = out.with_suffix(".half")  # a killed demo leaves no half table behind
    pq.write_table(table, half)
    half.rename(out)
    print(f"{table.num_rows:,} real transactions (CDNOW) in {out}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

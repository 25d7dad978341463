"""Prints a run summary for people: segments, top outliers, where the report lies.

    .venv/bin/python scripts/demo_show.py SUMMARY.json [TRUTH.parquet]

With the truth of synthetic connections (uid, attack) it adds how many rows of each kind of attack
the run flagged; the run itself never saw the truth.
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from segpipe.demo import show
from segpipe.lake.publish import read_labels


def caught(labels, truth: Path) -> None:
    """Per kind of attack: rows flagged, and the segment that holds most of them."""
    columns = labels.to_table(columns=["uid", "is_outlier", "segment_id"])
    both = columns.join(pq.read_table(truth), keys="uid")
    count = both.group_by(["attack", "segment_id"]).aggregate(
        [("is_outlier", "sum"), ("uid", "count")]
    )
    print("\nplanted attacks, known to this script only:")
    for attack in sorted(set(count["attack"].to_pylist())):
        parts = [r for r in count.to_pylist() if r["attack"] == attack]
        rows, flagged = (sum(r[c] for r in parts) for c in ("uid_count", "is_outlier_sum"))
        most = max(parts, key=lambda r: r["uid_count"])
        held = f"{most['uid_count']:,} in segment {most['segment_id']}"
        print(f"  {attack:<13} {flagged:>6,} of {rows:,} flagged; {held}")


def main(summary_path: Path, truth: Path | None) -> None:
    summary = json.loads(summary_path.read_text().splitlines()[-1])
    labels = read_labels(summary["labels"]["uri"], summary["labels"]["format"])
    show(summary, labels)
    if truth is not None:
        caught(labels, truth)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)

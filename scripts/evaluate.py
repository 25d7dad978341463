"""How well outliers are found, beside other detectors: AUROC, average precision, precision.

    python scripts/evaluate.py --data ../shared/data --out out/evaluation [--seeds 5]
        [--protocols adbench,network] [--most 20000] [--only segpipe] [--seconds 60]
        [--others-most 30000]

Writes ``scores.csv`` (a line per protocol, set, seed, method), ``means.csv`` and ``auroc.svg``, and
prints the means. ``precision`` is the share of true outliers among as many of the highest scores
as there are true outliers. Labels are compared with scores here; no job sees them.

Protocols: ``adbench`` (Han et al. 2022): sets above 10,000 rows cut to a random 10,000, smaller
than 1,000 drawn up, 70/30 split by class, fitted without labels, scored on the 30 %. ``network``:
NSL-KDD train and KDD99 10 %, all normals (at most ``--most``) with attacks drawn to 1, 5, 20 % and
to 1, 10 %, scored on what was fitted. PyOD's and hdbscan's methods take part where installed
(``pip install -r scripts/requirements/evaluate.txt``), within ``--seconds`` a case, each in a
process of its own, and not above ``--others-most`` rows; what runs out of time on a set is not
asked again on it. Every result is in ``scores.csv`` at once: a run that is ended keeps them.
They see ADBench's MinMax scaling, and of log rows the very features of our job.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from evaluation import data, methods

OURS = {"adbench": ("mass", "isolation_forest"), "network": ("ensemble", "isolation_forest")}

HEAD = ("protocol", "set", "seed", "method", "auroc", "ap", "precision", "seconds")


def judged(truth: np.ndarray, score: np.ndarray) -> tuple[float, float, float]:
    """AUROC, average precision, precision among the as many highest."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    highest = np.argsort(-score, kind="stable")[: int(truth.sum())]
    return (
        float(roc_auc_score(truth, score)),
        float(average_precision_score(truth, score)),
        float(truth[highest].mean()),
    )


def main() -> None:
    """See the module."""
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--out", type=Path, required=True)
    ask.add_argument("--seeds", type=int, default=5)
    ask.add_argument("--most", type=int, default=20_000)
    ask.add_argument("--protocols", default="adbench,network")
    ask.add_argument("--seconds", type=float, default=60.0, help="a case, for others' methods")
    ask.add_argument("--others-most", type=int, default=30_000, help="rows, for others' methods")
    ask.add_argument("--only", default="", help="methods whose name starts so")
    given = ask.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    cases = {
        "adbench": lambda: data.adbench(given.data, given.seeds),
        "network": lambda: data.network(given.data, given.seeds, given.most),
    }
    lines: list[tuple[str, str, int, str, float, float, float, float]] = []
    late: set[tuple[str, str, str]] = set()
    with (given.out / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerow(HEAD)
    for protocol in given.protocols.split(","):
        taking = methods.methods(OURS[protocol], given.seconds, given.others_most)
        for case in cases[protocol]():
            for name, scores in taking.items():
                if not name.startswith(given.only) or (protocol, case.name, name) in late:
                    continue
                start = time.perf_counter()
                try:
                    found = judged(case.truth, scores(case))
                except (TimeoutError, ValueError) as refused:  # e.g. CBLOF without large clusters
                    if isinstance(refused, TimeoutError):
                        late.add((protocol, case.name, name))
                    print(protocol, case.name, case.seed, name, "left out:", refused, flush=True)
                    continue
                seconds = time.perf_counter() - start
                lines.append((protocol, case.name, case.seed, name, *found, seconds))
                with (given.out / "scores.csv").open("a", newline="") as file:
                    csv.writer(file).writerow(
                        (*lines[-1][:4], *map("{:.5f}".format, lines[-1][4:]))
                    )
                print(
                    protocol, case.name, case.seed, name, *(f"{v:.4f}" for v in found), flush=True
                )
    write(given.out, lines)


def write(folder: Path, lines: list[tuple[str, str, int, str, float, float, float, float]]) -> None:
    """Means of the lines over seeds, and the picture."""
    held = defaultdict(list)
    for protocol, name, _, method, *numbers in lines:
        held[protocol, name, method].append(numbers)
    means = {key: np.mean(rows, axis=0) for key, rows in held.items()}
    with (folder / "means.csv").open("w", newline="") as file:
        rows = [
            (*key, *(f"{v:.5f}" for v in value), len(held[key])) for key, value in means.items()
        ]
        csv.writer(file).writerows([("protocol", "set", "method", *HEAD[4:], "seeds"), *rows])
    methods_found = list(dict.fromkeys(key[2] for key in means))
    for protocol in dict.fromkeys(key[0] for key in means):
        sets = list(dict.fromkeys(key[1] for key in means if key[0] == protocol))
        print(f"\n{protocol}: mean over sets (AUROC, AP, precision)")
        for method in methods_found:
            of = [means[protocol, s, method] for s in sets if (protocol, s, method) in means]
            if of:
                print(
                    f"  {method:26s} "
                    + " ".join(f"{v:.4f}" for v in np.mean(of, axis=0)[:3])
                    + f"  ({len(of)} sets)"
                )
    draw(folder / "auroc.svg", means)


def draw(path: Path, means: dict[tuple[str, str, str], np.ndarray]) -> None:
    """AUROC of every method on every set; matplotlib is in the dev extra."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    sets = list(dict.fromkeys(key[:2] for key in means))
    names = list(dict.fromkeys(key[2] for key in means))
    grid = np.array([[means.get((*s, n), [np.nan])[0] for s in sets] for n in names])
    figure, axes = plt.subplots(figsize=(1.5 + 0.7 * len(sets), 1.5 + 0.35 * len(names)))
    axes.imshow(grid, vmin=0.5, vmax=1.0, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(sets)), [s[1] for s in sets], rotation=60, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (i, j), value in np.ndenumerate(grid):
        if np.isfinite(value):
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", color="white", fontsize=7)
    axes.set_title("AUROC, mean of the seeds")
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()

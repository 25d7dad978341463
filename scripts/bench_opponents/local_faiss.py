"""FAISS's Kmeans with its defaults: 25 iterations on at most 256 rows per centre, random start."""

from __future__ import annotations

from typing import Any

from contest import Task, compete

POINTS_PER_CENTRE = 256
"""FAISS's default; ``local_faiss_all.py`` trains on every row."""


def prepare() -> Any:
    import faiss
    import in_memory

    return in_memory, faiss


def work(task: Task, ready: Any, points: int = POINTS_PER_CENTRE) -> dict[str, Any]:
    in_memory, faiss = ready
    frame, x = in_memory.read(task)
    fitted = faiss.Kmeans(
        x.shape[1], task.k, niter=25, seed=task.seed + 1, max_points_per_centroid=points
    )
    fitted.train(x)
    _, labels = fitted.index.search(x, 1)
    in_memory.write(task, frame, labels[:, 0])
    return {"steps": 25}


if __name__ == "__main__":
    compete(prepare, work)

"""scikit-learn's MiniBatchKMeans with its defaults (batches of 1,024, as its guide asks: above
256 per core); it stops early, so that its time is short and its inertia worse."""

from __future__ import annotations

from typing import Any

from contest import Task, compete, cores


def prepare() -> Any:
    import in_memory
    from sklearn.cluster import MiniBatchKMeans

    return in_memory, MiniBatchKMeans


def work(task: Task, ready: Any) -> dict[str, Any]:
    in_memory, MiniBatchKMeans = ready
    frame, x = in_memory.read(task)
    size = max(1024, 256 * cores())
    fitted = MiniBatchKMeans(task.k, batch_size=size, random_state=task.seed).fit(x)
    in_memory.write(task, frame, fitted.labels_)
    return {"steps": int(fitted.n_steps_)}


compete(prepare, work)

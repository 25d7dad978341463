"""scikit-learn's MiniBatchKMeans in memory, in batches of 16,384 rows.

Its guide asks for more than 256 rows per core; the default of 1,024 spends its time on starting
threads (1,000,000 x 16, k = 8, 2 cores: 8.5 s; batches of 4,096 2.6 s, of 16,384 0.9 s, with the
same inertia to 1e-6).
"""

from __future__ import annotations

from typing import Any

from contest import Task, compete

BATCH = 16_384


def prepare() -> Any:
    import in_memory
    from sklearn.cluster import MiniBatchKMeans

    return in_memory, MiniBatchKMeans


def work(task: Task, ready: Any) -> dict[str, Any]:
    in_memory, MiniBatchKMeans = ready
    frame, x = in_memory.read(task)
    fitted = MiniBatchKMeans(task.k, batch_size=BATCH, random_state=task.seed).fit(x)
    in_memory.write(task, frame, fitted.labels_)
    return {"steps": int(fitted.n_steps_)}


compete(prepare, work)

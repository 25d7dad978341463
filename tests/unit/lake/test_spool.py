import numpy as np
import pytest

from segpipe.lake.lease import lease, sweep
from segpipe.lake.spool import Spool, Spooled, spool_folder, spooling
from segpipe.values import Labels


def test_scores_come_back_in_order_batch_by_batch(tmp_path):
    sink = Spool(str(tmp_path / "s")).open()
    scores = np.arange(10.0) / 3
    sink.write(scores[:4])
    sink.write(scores[4:])
    back = Spooled(sink.close())
    assert np.concatenate([back.take(7), back.take(0), back.take(3)]).tolist() == scores.tolist()
    with pytest.raises(AssertionError, match="fewer than its rows"):
        back.take(1)


def test_labels_come_back_beside_the_scores_or_not_at_all(tmp_path):
    spool = Spool(str(tmp_path / "s"))
    plain, labelled = spool.open(), spool.open()
    labels = Labels(np.array([-1, 7, 3], np.int32), np.array([0.0, 0.1, 1.0]), np.arange(3) / 7)
    for sink in (plain, labelled):
        sink.write(np.arange(3.0))
    labelled.label(labels)
    assert Spooled(plain.close()).labels(3) is None
    back = Spooled(labelled.close())
    first, rest = back.labels(1), back.labels(2)
    for name in ("segment", "confidence", "distance"):
        parts = [getattr(first, name), getattr(rest, name)]
        assert np.concatenate(parts).tolist() == getattr(labels, name).tolist()
    assert first.segment.dtype == np.int32
    with pytest.raises(AssertionError, match="fewer than its rows"):
        back.labels(1)


def test_a_run_leaves_no_spool_and_a_dead_one_is_swept(tmp_path):
    target = str(tmp_path)
    with spooling(target, "run-1"):
        Spool(spool_folder(target, "run-1")).open().close()
        assert (tmp_path / "_segpipe/spool/run-1").is_dir()
    assert not (tmp_path / "_segpipe/spool/run-1").exists()
    with lease(target, "run-2"):
        mark = tmp_path / "_segpipe/live/run-2.lock"
        dead = mark.read_text()
    mark.write_text(dead)  # as a killed process leaves it
    Spool(spool_folder(target, "run-2")).open().close()
    sweep(target)
    assert not mark.exists() and not (tmp_path / "_segpipe/spool/run-2").exists()

import numpy as np
import pytest

from segpipe.lake.lease import lease, sweep
from segpipe.lake.spool import Spool, Spooled, spool_folder, spooling


def test_scores_come_back_in_order_batch_by_batch(tmp_path):
    sink = Spool(str(tmp_path / "s")).open()
    scores = np.arange(10.0) / 3
    sink.write(scores[:4])
    sink.write(scores[4:])
    back = Spooled(sink.close())
    assert np.concatenate([back.take(7), back.take(0), back.take(3)]).tolist() == scores.tolist()
    with pytest.raises(AssertionError, match="fewer than its rows"):
        back.take(1)


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

"""What goes of a job's folder when a start of it is over, and what stays."""

from __future__ import annotations

from pathlib import Path

from millrace.runtime import job_trees


def test_the_next_start_is_not_removed_with_the_one_that_is_over(tmp_path: Path) -> None:
    """The removal runs beside the supervisor, and on a busy machine only after the next start was staged."""
    first, second = tmp_path / "algo-1", tmp_path / "restart-1" / "algo-1"
    for instance in (first, second):
        (instance / "ml" / "model").mkdir(parents=True)
        (instance / "log").write_text("said\n")
    job_trees.remove([first])
    assert [path.name for path in first.iterdir()] == ["log"]
    assert (second / "ml" / "model").is_dir()


def test_every_start_of_an_ended_job_is_removed(tmp_path: Path) -> None:
    starts = [tmp_path / "algo-1", tmp_path / "restart-1" / "algo-1", tmp_path / "restart-2" / "algo-1"]
    for instance in starts:
        (instance / "inputs").mkdir(parents=True)
        (instance / "log").write_text("said\n")
    job_trees.remove(job_trees.every_start(tmp_path))
    assert [sorted(path.name for path in instance.iterdir()) for instance in starts] == [["log"]] * 3

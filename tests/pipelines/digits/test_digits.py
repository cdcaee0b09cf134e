"""The digits jobs as programs: the shipped images or the user's own, and a model asked as its server will be."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from millrace import verdict
from pipelines.digits.settings import LABEL, PIXELS

OUTPUTS = {
    "ingest": ("raw", "train", "test"), "batch": ("batch", "features", "verdict"), "evaluate": ("evaluation",),
}  # fmt: skip
ANSWERS_ZERO = """
def model_fn(model_dir): return None
def input_fn(body, content_type): return body.decode().splitlines()
def predict_fn(images, model): return ["0,0.9" for _ in images]
def output_fn(answers, accept): return "\\n".join(answers)
"""


def run(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A job's program as it runs in its container, with /opt/ml at `folder` and the folders of its outputs made."""
    (folder / "output").mkdir(exist_ok=True)
    for name in OUTPUTS[module]:
        (folder / "processing/output" / name).mkdir(parents=True)
    return subprocess.run(
        [sys.executable, "-m", f"pipelines.digits.jobs.{module}", *arguments], cwd=folder / "processing",
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def model(folder: Path, handlers: str) -> None:
    folder.mkdir(parents=True)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("code/inference.py")
        member.size = len(handlers)
        archive.addfile(member, io.BytesIO(handlers.encode()))


def test_the_shipped_digits_fall_into_parts_that_share_no_image(tmp_path: Path) -> None:
    for module in ("ingest", "batch"):
        done = run(tmp_path, module)
        assert done.returncode == 0, done.stderr
    output = tmp_path / "processing/output"
    raw, train, test = (pd.read_parquet(output / name) for name in ("raw", "train", "test"))
    later = pd.read_parquet(output / "batch")
    assert len(raw) == len(train) + len(test) + len(later) == 1797
    held_back = pd.concat([train, test])[list(PIXELS)].drop_duplicates()
    assert len(later.merge(held_back, on=list(PIXELS))) == 0


def test_only_a_drifted_batch_has_moved(tmp_path: Path) -> None:
    clean, drifted = (tmp_path / kind for kind in ("clean", "drifted"))
    for folder in (clean, drifted):
        folder.mkdir()
        assert run(folder, "batch", "--kind", folder.name).returncode == 0
    before, after = (pd.read_csv(f / "processing/output/features/batch.csv", header=None) for f in (clean, drifted))
    assert before.shape == after.shape == (359, 64)
    assert abs(after.to_numpy().mean() - before.to_numpy().mean()) > 1


@pytest.mark.parametrize("module", ["ingest", "batch"])
def test_a_source_of_other_columns_is_refused_in_one_line(tmp_path: Path, module: str) -> None:
    source = tmp_path / "processing/input/source"
    source.mkdir(parents=True)
    (source / "mine.csv").write_text("a,b\n1,2\n")
    done = run(tmp_path, module)
    assert done.returncode == 1
    assert done.stderr.startswith("input/source lacks the columns pixel_0, pixel_1")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "output/message").read_text() == done.stderr.strip()


def test_a_model_is_measured_by_what_its_handlers_answer(tmp_path: Path) -> None:
    work = tmp_path / "processing"
    model(work / "input/model", ANSWERS_ZERO)
    (work / "input/test").mkdir()
    frame = pd.DataFrame(3.0, index=range(40), columns=list(PIXELS)).assign(**{LABEL: [0, 0, 0, 7] * 10})
    frame.to_parquet(work / "input/test/test.parquet")
    done = run(tmp_path, "evaluate")
    assert done.returncode == 0, done.stderr
    found = verdict.parse((work / "output/evaluation/verdict.json").read_text())
    assert found.metrics["accuracy"] == 0.75
    assert found.metrics["rows"] == 40
    metrics = json.loads((work / "output/evaluation/metrics.json").read_text())
    interval = metrics["accuracy"]["confidence_interval"]
    assert interval["lower"] < 0.75 < interval["upper"]
    assert (work / "output/evaluation/confusion_matrix.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("handlers", "label", "said"),
    [
        (
            "def model_fn(model_dir): return None\n", 1,
            "model.tar.gz cannot be served: inference.py lacks input_fn, predict_fn, output_fn (or one transform_fn in "
            "their place)",
        ),
        ("def model_fn(", 1, "model.tar.gz cannot be served: '(' was never closed (inference.py, line 1)"),
        ("def model_fn(model_dir): raise OSError('no weights')", 1, "model.tar.gz cannot be served: no weights"),
        (ANSWERS_ZERO, 11, "2 labels are no digits, for example 11; they must be 0 to 9"),
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_is_refused_in_one_line(tmp_path: Path, handlers: str, label: int, said: str) -> None:
    work = tmp_path / "processing"
    model(work / "input/model", handlers)
    (work / "input/test").mkdir()
    frame = pd.DataFrame(3.0, index=range(2), columns=list(PIXELS)).assign(**{LABEL: label})
    frame.to_parquet(work / "input/test/t.parquet")
    done = run(tmp_path, "evaluate")
    assert done.returncode == 1
    assert done.stderr.strip() == said

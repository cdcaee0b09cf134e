"""The lending jobs on their generated world: days repeat, a broken delivery is broken, and the change can be learned."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from datetime import date, timedelta
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from millrace import verdict
from pipelines.lending.jobs import inference, world
from pipelines.lending.settings import EMPLOYMENTS, FEATURES, FIRST_DAY, ID, LABEL, REGIONS

CALM, CHANGED = FIRST_DAY + timedelta(days=3), world.CHANGE + timedelta(days=5)


def run(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A job's program as it runs in its container, with /opt/ml at `folder`."""
    work = folder / "processing"
    work.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", f"pipelines.lending.jobs.{module}", *arguments],
        cwd=work, env={**os.environ, "SAGEMAKER_BASE_DIR": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def train(folder: Path, data: Path) -> Path:
    """A model archive, trained on the tables below `data`."""
    (folder / "model").mkdir(parents=True)
    config = folder / "input/config"
    config.mkdir(parents=True)
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    (config / "inputdataconfig.json").write_text(json.dumps({"train": {}}))
    (config / "hyperparameters.json").write_text("{}")
    shutil.copytree(data, folder / "input/data/train")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.lending.jobs.train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    archive = folder / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder / "model", ".")
    return archive


def test_a_day_is_the_same_whenever_it_is_made() -> None:
    pd.testing.assert_frame_equal(world.day(CALM), world.day(CALM))
    assert not world.day(CALM)[ID].isin(world.day(CALM + timedelta(days=1))[ID]).any()
    assert {world.applied_on(found) for found in world.day(CALM)[ID]} == {CALM}


def test_only_the_broken_delivery_is_broken() -> None:
    good = pd.read_csv(StringIO(world.delivery(CALM)))
    assert good[list(FEATURES)].notna().all(axis=None)
    assert good["income"].gt(0).all()
    assert set(good["region"]) == set(REGIONS)
    assert set(good["employment"]) == set(EMPLOYMENTS)
    lines = world.delivery(world.BROKEN).splitlines()
    whole = [line for line in lines if line.count(",") == len(FEATURES)]
    assert len(lines) - len(whole) == 10
    broken = pd.read_csv(StringIO("\n".join(whole)))
    bad = (
        broken["income"].lt(0) | broken["debt_ratio"].gt(1) | ~broken["region"].isin(REGIONS) | broken["amount"].isna()
    )
    assert 500 <= bad.sum() <= 540


def test_labels_are_known_a_day_later() -> None:
    yesterday = CALM - timedelta(days=1)
    assert len(world.labels(yesterday, yesterday, CALM)) == world.ROWS_A_DAY
    assert world.labels(CALM, CALM, CALM).empty


def test_training_on_windows_takes_the_loans_whose_labels_are_known(tmp_path: Path) -> None:
    for number, day in enumerate((CALM, CALM + timedelta(days=1))):
        folder = tmp_path / f"processing/input/window_{number}"
        folder.mkdir(parents=True)
        world.day(day)[[ID, *FEATURES]].to_parquet(folder / "accepted.parquet")
    done = run(tmp_path, "prepare", "--day", str(CALM + timedelta(days=1)))
    assert done.returncode == 0, done.stderr
    parts = [pd.read_parquet(tmp_path / "processing/output" / name) for name in ("train", "test")]
    assert set(pd.concat(parts)[ID].map(world.applied_on)) == {CALM}
    assert sum(map(len, parts)) == world.ROWS_A_DAY
    assert len(parts[1]) == pytest.approx(0.3 * world.ROWS_A_DAY, rel=0.1)
    done = run(tmp_path, "prepare", "--day", str(CALM - timedelta(days=1)))
    assert done.returncode == 1
    assert done.stderr.strip().startswith("of 3000 applications none has a label on")


def test_a_challenger_trained_on_the_changed_world_beats_the_champion(tmp_path: Path) -> None:
    """And the champion beats the challenger in the world that it was trained on."""
    assert run(tmp_path, "prepare", "--day", str(FIRST_DAY)).returncode == 0
    champion = train(tmp_path / "old", tmp_path / "processing/output/train")
    changed = tmp_path / "changed"
    changed.mkdir()
    pd.concat([world.day(world.CHANGE), world.day(world.CHANGE + timedelta(days=1))]).to_parquet(
        changed / "loans.parquet"
    )
    challenger = train(tmp_path / "new", changed)
    seen = {}
    for name, day in (("changed", CHANGED), ("calm", CALM)):
        work = tmp_path / name / "processing/input"
        for role, archive in (("champion", champion), ("challenger", challenger)):
            (work / role).mkdir(parents=True)
            (work / role / "model.tar.gz").write_bytes(archive.read_bytes())
        (work / "data").mkdir()
        world.day(day).to_parquet(work / "data/loans.parquet")
        done = run(tmp_path / name, "challenge")
        assert done.returncode == 0, done.stderr
        seen[name] = verdict.parse((tmp_path / name / "processing/output/challenge/verdict.json").read_text())
    assert seen["changed"].passed
    assert seen["changed"].metrics["difference_low"] > 0.02
    assert "which is better" in seen["changed"].summary
    assert not seen["calm"].passed
    assert "not surely better" in seen["calm"].summary


def test_the_served_scores_are_the_models(tmp_path: Path) -> None:
    assert run(tmp_path, "prepare", "--day", str(FIRST_DAY)).returncode == 0
    train(tmp_path / "old", tmp_path / "processing/output/train")
    model = inference.model_fn(str(tmp_path / "old/model"))
    loans = world.day(CALM)
    body = loans[[ID, *FEATURES]].to_csv(index=False, header=False).encode()
    answer = inference.output_fn(inference.predict_fn(inference.input_fn(body, "text/csv"), model), "text/csv")
    scores = [float(line) for line in answer.splitlines()]
    assert len(scores) == len(loans)
    assert roc_auc_score(loans[LABEL], scores) > 0.68
    with pytest.raises(ValueError, match="line 1 has 2 cells; an application has its id and 6"):
        inference.input_fn(b"a,1\n", "text/csv")
    with pytest.raises(inference.UnsupportedContentType, match="application/json"):
        inference.input_fn(b"{}", "application/json")
    assert json.loads((tmp_path / "old/model/scorecard.json").read_text())["weights"]


def test_a_day_that_is_none_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "deliver", "--day", "tomorrow")
    assert done.returncode == 2
    assert "invalid fromisoformat value: 'tomorrow'" in done.stderr
    assert date.fromisoformat(str(FIRST_DAY)) == FIRST_DAY

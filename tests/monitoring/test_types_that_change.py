"""A CSV column that is whole numbers in one file and fractions in the next is fractions, for every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace import verdict
from millrace.monitoring.__main__ import main

ROWS = 60
BIAS = ["--facet-column", "a", "--facet-value", "1", "--label-column", "b", "--label-value", "1", "--flip-column", "x"]
QUALITY = ["--problem-type", "Regression", "--id-column", "id", "--prediction-column", "x", "--label-column", "x"]


def score(rows: object) -> object:
    return rows[:, 0]  # type: ignore[index]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rows of whole numbers, and in a later file some with a fraction."""
    for name, fraction in (("1", 0.0), ("2", 0.5)):
        lines = [f"{number},{number % 2},{number % 3},{number % 5 + fraction:g}" for number in range(ROWS)]
        lines = [line.replace(",", f"-{name},", 1) for line in lines]
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.csv").write_text("\n".join(["id,a,b,x", *lines]) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["bias", "--data", "data", *BIAS],
        ["attribution-drift", "--data", "data", "--baseline", "data", "--exclude", "id"],
        [
            "attribution-drift", "--data", "data", "--baseline", "data", "--exclude", "id",
            "--predict", f"{__name__}:score", "--explain", "70",
        ],
        ["model-quality", "--predictions", "data", "--ground-truth", "data", *QUALITY],
    ],
    ids=["bias", "attributions", "explained", "model-quality"],
)  # fmt: skip
def test_rows_of_every_file_are_looked_at(
    folder: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main([*arguments, "--output", "out"]) == 0, capsys.readouterr().err
    said = verdict.parse((folder / "out" / verdict.FILE_NAME).read_text())
    rows = said.metrics.get("rows", said.metrics.get("labelled"))
    assert rows == (70 if "--predict" in arguments else 2 * ROWS)

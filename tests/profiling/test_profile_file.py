"""Stored profiles: what is read back is what was written, merges as if it had not been stored, and is not trusted."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.monitoring.distance import ks_distance
from millrace.profiling.dataset import read_into
from millrace.profiling.errors import DatasetError, FormatError
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.profile_file import FILE_NAME, StoredProfile, identity, read_profile, write_profile
from millrace.profiling.summary import DatasetSummary, NumericSummary


def table(seed: int, rows: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "real": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1),
            "whole": rng.integers(0, 50, rows),
            "word": rng.choice(["red", "blue"], rows),
            "id": [f"{seed}-{i}" for i in range(rows)],
            "none": pa.nulls(rows),
        }
    )


def stored(folder: Path, seed: int, rows: int) -> StoredProfile:
    """As read back from its file."""
    folder.mkdir()
    pq.write_table(table(seed, rows), folder / "part-0.parquet")
    made = StoredProfile(files=identity(folder), profile=read_into(DatasetProfile, folder))
    return read_profile(write_profile(folder, made))


def assert_same(seen: DatasetSummary, expected: DatasetSummary) -> None:
    assert seen.rows == expected.rows
    for name, column in expected.columns.items():
        found = seen.columns[name]
        if isinstance(column, NumericSummary):
            assert isinstance(found, NumericSummary)
            # KLL tosses coins: two sketches of the same rows are alike, and not equal.
            assert ks_distance(found.values, found.weights, column.values, column.weights) < 0.01
            assert found.weights.sum() == column.weights.sum()
            empty = np.empty(0)
            found, column = (replace(one, values=empty, weights=empty) for one in (found, column))
            assert str(found) == str(column)  # the arrays, now empty, have no plain equality
        else:
            assert found == column


@pytest.mark.parametrize("rows", [5, 3_000, 40_000])
def test_a_profile_comes_back_as_it_was(tmp_path: Path, rows: int) -> None:
    direct = DatasetProfile()
    for batch in table(1, rows).to_batches():
        direct.add(batch)
    read = stored(tmp_path / "a", 1, rows)
    assert_same(read.profile.summary(), direct.summary())
    [file] = read.files
    assert (file.name, file.size) == ("part-0.parquet", (tmp_path / "a" / "part-0.parquet").stat().st_size)


def test_stored_profiles_merge_as_live_ones_do(tmp_path: Path) -> None:
    live = DatasetProfile()
    for seed in (1, 2, 3):
        part = DatasetProfile()
        part.add(table(seed, 900).to_batches()[0])
        live.merge(part)
    first, second, third = (stored(tmp_path / str(seed), seed, 900) for seed in (1, 2, 3))
    merged = first.merged(second).merged(third)
    assert_same(merged.profile.summary(), live.summary())
    assert len(merged.files) == 3


def test_the_same_rows_are_not_counted_twice(tmp_path: Path) -> None:
    first, again = stored(tmp_path / "a", 1, 50), stored(tmp_path / "b", 1, 50)
    with pytest.raises(DatasetError, match="hold the same bytes"):
        first.merged(again)
    assert first.profile.rows == 50


def set_at(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_at("version", to=7), "of version 7"),
        (set_at("columns", 0, "kind", to="magic"), "must be one of numbers, text, unknown"),
        (set_at("columns", 0, "single", to="%%"), "is not base64"),
        (set_at("columns", 0, "single", to="é"), "is not base64"),
        (set_at("columns", 0, "single", to="AAAA"), "is not a sketch"),
        (set_at("columns", 0, "distinct", to="AAAA"), "is not a sketch"),
        (set_at("columns", 3, "distinct", to="/////w=="), "is not a sketch"),
        (set_at("columns", 0, "moments", "count", to=7), "and counts 7"),
        (set_at("columns", 0, "moments", "squares", to=-1), "must be from 0"),
        (set_at("columns", 2, "categories", "red", to=-4), "must be from 0"),
        (set_at("columns", 2, "categories", "red", to=True), r"categories\.red is True"),
        (set_at("rows", to="many"), "must be a finite number"),
    ],
)
def test_a_changed_file_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    stored(tmp_path / "a", 1, 50)
    path = tmp_path / "a" / FILE_NAME
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError, match=message):
        read_profile(path)

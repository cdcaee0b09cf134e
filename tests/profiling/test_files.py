"""The Model Monitor files: what is written is read back, has the documented fields, and is not trusted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.monitoring.violations_file import CHECKS, Violation, read_violations, write_violations
from millrace.profiling.constraints_file import MonitoringConfig, read_constraints, suggest, write_constraints
from millrace.profiling.errors import FormatError
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.statistics_file import read_statistics, write_statistics
from millrace.profiling.summary import DatasetSummary, NumericSummary


def summary(rows: int = 20_000) -> DatasetSummary:
    rng = np.random.default_rng(0)
    profile = DatasetProfile()
    columns = {
        "real": pa.array(rng.normal(size=rows)),
        "whole": pa.array([None, *range(1, rows)]),
        "word": pa.array(["red", "blue"] * (rows // 2)),
        "none": pa.nulls(rows),
    }
    profile.add(pa.record_batch(list(columns.values()), names=list(columns)))
    return profile.summary()


def test_statistics_come_back_with_the_sketch(tmp_path: Path) -> None:
    written = summary()
    write_statistics(tmp_path, written)
    read = read_statistics(tmp_path)
    assert read.rows == written.rows
    assert read.columns["word"] == written.columns["word"]
    assert read.columns["none"] == written.columns["none"]
    for name in ("real", "whole"):
        old, new = written.columns[name], read.columns[name]
        assert isinstance(old, NumericSummary)
        assert isinstance(new, NumericSummary)
        np.testing.assert_array_equal(old.values, new.values)
        np.testing.assert_array_equal(old.weights, new.weights)
        assert (old.mean, old.std_dev, old.minimum, old.maximum) == (new.mean, new.std_dev, new.minimum, new.maximum)


def test_statistics_have_the_documented_fields(tmp_path: Path) -> None:
    document = json.loads(write_statistics(tmp_path, summary(100)).read_text())
    assert document["dataset"] == {"item_count": 100}
    real, whole, word, none = document["features"]
    assert [f["inferred_type"] for f in (real, whole, word, none)] == ["Fractional", "Integral", "String", "Unknown"]
    numbers = whole["numerical_statistics"]
    assert set(numbers) == {"common", "mean", "sum", "std_dev", "min", "max", "distinct_count", "distribution"}
    assert numbers["common"] == {"num_present": 99, "num_missing": 1}
    assert numbers["sum"] == pytest.approx(sum(range(1, 100)))
    kll = numbers["distribution"]["kll"]
    assert len(kll["buckets"]) == 10
    assert sum(bucket["count"] for bucket in kll["buckets"]) == 99
    assert kll["sketch"]["parameters"] == {"c": 0.64, "k": 2048.0}
    assert kll["sketch"]["data"] == [list(map(float, range(1, 100)))]
    assert word["string_statistics"]["distribution"]["categorical"]["buckets"][0] == {"value": "blue", "count": 50}


def test_constraints_come_back(tmp_path: Path) -> None:
    suggested = suggest(summary(100))
    assert suggested.features["word"].domains == ("blue", "red")
    assert suggested.features["whole"].is_non_negative
    assert suggested.features["whole"].completeness == 0.99
    write_constraints(tmp_path, suggested)
    assert read_constraints(tmp_path) == suggested


def test_a_feature_overrides_the_thresholds(tmp_path: Path) -> None:
    document = json.loads(write_constraints(tmp_path, suggest(summary(100))).read_text())
    document["features"][0]["monitoringConfigOverrides"] = {"distribution_constraints": {"comparison_threshold": 0.3}}
    (tmp_path / "constraints.json").write_text(json.dumps(document))
    read = read_constraints(tmp_path)
    assert read.features["real"].config == MonitoringConfig(comparison_threshold=0.3)
    assert read.features["whole"].config == MonitoringConfig()


def change(path: Path, *keys: Any, value: object) -> None:
    document = json.loads(path.read_text())
    target = document
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    path.write_text(json.dumps(document))


KLL = ("features", 0, "numerical_statistics", "distribution", "kll", "sketch", "data")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("features",), {}, r"statistics\.json\.features is \{\}; it must be a list"),
        (("dataset",), {}, "lacks 'item_count'"),
        (("dataset", "item_count"), 1.5, "whole number"),
        (("features", 0, "inferred_type"), "Complex", "must be one of Integral"),
        (("features", 0, "numerical_statistics", "mean"), "3", "finite number"),
        (KLL, [[1.0]], "stands for 1 rows"),
        (KLL, [[]] * 100, "more than 63 levels"),
        (KLL, [[True]], "finite number"),
        (KLL, [[1.0, 10**400]], r"data\[0\]\[1\] is 1000.* finite number"),
    ],
)
def test_statistics_are_not_trusted(tmp_path: Path, keys: tuple[Any, ...], value: object, message: str) -> None:
    change(write_statistics(tmp_path, summary(100)), *keys, value=value)
    with pytest.raises(FormatError, match=message):
        read_statistics(tmp_path)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("features", 0, "completeness"), 2, "must be from 0 to 1"),
        (("monitoring_config", "distribution_constraints", "comparison_method"), "Best", "Simple, Robust"),
        (("features", 1, "name"), "real", "a second time"),
    ],
)
def test_constraints_are_not_trusted(tmp_path: Path, keys: tuple[Any, ...], value: object, message: str) -> None:
    change(write_constraints(tmp_path, suggest(summary(100))), *keys, value=value)
    with pytest.raises(FormatError, match=message):
        read_constraints(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff", "[" * 100_000])
def test_a_file_that_is_no_document(tmp_path: Path, text: str) -> None:
    (tmp_path / "constraints.json").write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match=r"constraints\.json"):
        read_constraints(tmp_path)


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="run the `baseline` command"):
        read_statistics(tmp_path)


def test_violations_come_back(tmp_path: Path) -> None:
    violations = [Violation(feature_name="x", constraint_check_type=kind, description="d") for kind in CHECKS]
    assert json.loads(write_violations(tmp_path, violations).read_text())["violations"][0]["feature_name"] == "x"
    assert read_violations(tmp_path) == violations

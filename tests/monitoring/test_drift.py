"""The decision: silent on fresh data of the same kind, loud on changed data, and right about every other check."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

from millrace.monitoring.drift import DriftResult, decide
from millrace.profiling.constraints_file import Constraints, suggest
from millrace.profiling.errors import FormatError
from millrace.profiling.profile import DatasetProfile
from millrace.profiling.summary import DatasetSummary, Floats

SEEDS = range(20)


def dataset(columns: Mapping[str, object]) -> DatasetSummary:
    profile = DatasetProfile()
    profile.add(pa.record_batch([pa.array(values) for values in columns.values()], names=list(columns)))
    return profile.summary()


def against(base: Mapping[str, object], now: Mapping[str, object], **options: float) -> DriftResult:
    known = dataset(base)
    return decide(known, dataset(now), suggest(known), **options)


def checks(result: DriftResult) -> list[tuple[str, str]]:
    return sorted((v.feature_name, v.constraint_check_type) for v in result.violations)


# --- the digits: 64 pixel columns, 1,100 rows of baseline, 350 rows now


@pytest.fixture(scope="module")
def images() -> Floats:
    data: Floats = load_digits().data
    return data


def pixels(images: Floats) -> dict[str, Floats]:
    return {f"pixel_{i}": images[:, i] for i in range(64)}


def rotated_and_blurred(images: Floats) -> Floats:
    turned = [ndimage.rotate(i, 15, reshape=False, order=1) for i in images.reshape(-1, 8, 8)]
    changed: Floats = np.stack([ndimage.gaussian_filter(i, 0.7) for i in turned]).reshape(-1, 64)
    return changed


@pytest.mark.parametrize("seed", SEEDS)
def test_held_back_digits_do_not_alarm_and_changed_ones_do(images: Floats, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(images))
    known = dataset(pixels(images[order[:1100]]))
    held_back = images[order[1100:1450]]
    limits = suggest(known)
    fresh = decide(known, dataset(pixels(held_back)), limits)
    assert not fresh.drifted
    assert fresh.drifted_features == []
    assert decide(known, dataset(pixels(rotated_and_blurred(held_back))), limits).share > 0.5
    assert decide(known, dataset(pixels(16 - held_back)), limits).drifted


# --- each condition by itself


def test_a_large_distance_on_few_rows_is_not_drift_but_simple_says_it_is() -> None:
    rng = np.random.default_rng(0)
    known = dataset({"x": rng.normal(size=1000)})
    now = dataset({"x": rng.normal(size=15)})
    limits = suggest(known)
    robust = decide(known, now, limits)
    assert robust.features[0].distance > 0.1
    assert not robust.drifted
    simple = {n: replace(f, config=replace(f.config, comparison_method="Simple")) for n, f in limits.features.items()}
    assert decide(known, now, Constraints(features=simple)).drifted


def test_a_significant_but_small_distance_is_not_drift() -> None:
    rng = np.random.default_rng(0)
    result = against({"x": rng.normal(size=50_000)}, {"x": rng.normal(0.1, size=50_000)})
    assert result.features[0].p_value < 1e-6
    assert not result.drifted


def test_a_spread_that_grows_is_drift_though_no_cumulative_share_moves_far() -> None:
    rng = np.random.default_rng(0)
    base, now = {"x": rng.normal(size=20_000)}, {"x": rng.normal(scale=1.3, size=2000)}
    (feature,) = against(base, now).features
    assert feature.drifted
    assert feature.method == "Jensen-Shannon"
    assert feature.threshold < feature.distance < 0.2
    known = dataset(base)
    limits = suggest(known).features
    simple = {n: replace(f, config=replace(f.config, comparison_method="Simple")) for n, f in limits.items()}
    assert not decide(known, dataset(now), Constraints(features=simple)).drifted, "Model Monitor's distance alone"


def test_one_of_twenty_features_is_a_finding_and_not_a_drift() -> None:
    rng = np.random.default_rng(0)
    base = {f"x{i}": rng.normal(size=1000) for i in range(20)}
    now = {name: rng.normal(size=1000) for name in base} | {"x7": rng.normal(3, size=1000)}
    result = against(base, now)
    assert checks(result) == [("x7", "baseline_drift_check")]
    assert not result.drifted
    assert against(base, now, drift_share=0.05).drifted


def test_constant_columns_are_at_distance_0_and_another_constant_at_1() -> None:
    base = {"same": np.zeros(100), "other": np.zeros(100)}
    result = against(base, {"same": np.zeros(50), "other": np.ones(50)})
    assert {f.name: f.distance for f in result.features} == {"same": 0.0, "other": 1.0}


def test_categories_drift_by_l_infinity() -> None:
    result = against({"c": ["a", "b"] * 200}, {"c": ["a"] * 90 + ["b"] * 10})
    (feature,) = result.features
    assert (feature.method, feature.drifted) == ("L-infinity", True)
    assert feature.distance == pytest.approx(0.4)


# --- the other checks


def test_every_kind_of_violation() -> None:
    base = {
        "gone": [1, 2] * 100,
        "typed": [1, 2] * 100,
        "holes": [1, 2] * 100,
        "words": ["a", "b"] * 100,
        "ids": [f"id-{i}" for i in range(200)],
    }
    now = {
        "typed": [1.5, 2.0] * 100,
        "holes": [1, 2, None, 1] * 50,
        "words": ["a", "new"] * 100,
        "ids": [f"id-{i}" for i in range(200, 400)],
        "extra": [0] * 200,
    }
    result = against(base, now)
    assert {
        ("gone", "missing_column_check"),
        ("typed", "data_type_check"),
        ("holes", "completeness_check"),
        ("words", "categorical_values_check"),
        ("words", "baseline_drift_check"),
        ("extra", "extra_column_check"),
    } <= set(checks(result))
    assert result.drifted


def test_a_missing_column_alone_is_drift_and_an_extra_one_is_not() -> None:
    base, more = {"a": [1, 2] * 50}, {"a": [1, 2] * 50, "b": [1, 2] * 50}
    assert against(more, base).drifted
    extra = against(base, more)
    assert checks(extra) == [("b", "extra_column_check")]
    assert not extra.drifted


def test_whole_numbers_are_welcome_where_fractions_are_expected() -> None:
    assert checks(against({"a": [0.0, 1.0, 2.0] * 40}, {"a": [0, 1, 2] * 40})) == []


def test_as_many_gaps_as_in_the_baseline_are_no_violation() -> None:
    rng = np.random.default_rng(3)
    base, now = (np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)) for n in (2000, 300))
    assert checks(against({"a": base}, {"a": now})) == []


def test_a_column_that_lost_all_values_has_drifted() -> None:
    result = against({"a": [1, 2] * 50}, {"a": [None] * 100})
    assert checks(result) == [("a", "baseline_drift_check"), ("a", "completeness_check")]
    assert result.drifted


def test_constraints_without_their_statistics_are_refused() -> None:
    known = dataset({"a": [1, 2]})
    with pytest.raises(FormatError, match="names the feature 'b'"):
        decide(known, known, suggest(dataset({"b": [1, 2]})))

"""The profile of the parts, merged, is the profile of the whole; what cannot be profiled is refused."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.profiling.errors import DatasetError
from millrace.profiling.profile import MAX_CATEGORIES, DatasetProfile
from millrace.profiling.summary import NumericSummary, TextSummary, UnknownSummary

ROWS = st.lists(
    st.tuples(st.none() | st.floats(-1e6, 1e6), st.none() | st.integers(-9, 9), st.none() | st.sampled_from("abcd")),
    min_size=1,
    max_size=60,
)


def profile_of(rows: list[tuple[object, object, object]]) -> DatasetProfile:
    profile = DatasetProfile()
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    kinds = (pa.float64(), pa.int64(), pa.string())
    profile.add(
        pa.record_batch([pa.array(c, k) for c, k in zip(columns, kinds, strict=True)], names=["real", "whole", "word"])
    )
    return profile


@given(ROWS, ROWS)
@settings(deadline=None)
def test_merged_parts_equal_the_whole(first: list[tuple[object, ...]], second: list[tuple[object, ...]]) -> None:
    merged = profile_of(first)  # type: ignore[arg-type]
    merged.merge(profile_of(second))  # type: ignore[arg-type]
    parts, whole = merged.summary(), profile_of(first + second).summary()  # type: ignore[arg-type]
    assert parts.rows == whole.rows
    for name, expected in whole.columns.items():
        seen = parts.columns[name]
        assert type(seen) is type(expected)
        assert (seen.present, seen.missing, seen.inferred_type) == (
            expected.present,
            expected.missing,
            expected.inferred_type,
        )
        if isinstance(seen, NumericSummary) and isinstance(expected, NumericSummary):
            assert (seen.minimum, seen.maximum, seen.integral) == (
                expected.minimum,
                expected.maximum,
                expected.integral,
            )
            assert seen.mean == pytest.approx(expected.mean, rel=1e-9, abs=1e-6)
            assert seen.std_dev == pytest.approx(expected.std_dev, rel=1e-6, abs=1e-6)
            np.testing.assert_array_equal(seen.values, expected.values)
            assert seen.weights.sum() == seen.present
        if isinstance(seen, TextSummary) and isinstance(expected, TextSummary):
            assert seen.categories == expected.categories
            assert seen.distinct == expected.distinct


def single(values: object, kind: object = None) -> DatasetProfile:
    profile = DatasetProfile()
    profile.add(pa.record_batch([pa.array(values, kind)], names=["x"]))
    return profile


def test_nan_counts_as_missing() -> None:
    column = single([1.0, float("nan"), None, 3.0]).summary().columns["x"]
    assert (column.present, column.missing) == (2, 2)


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_an_infinite_value_is_an_error_that_names_the_column(value: float) -> None:
    with pytest.raises(DatasetError, match=r"column 'x' holds -?inf"):
        single([1.0, value])


def test_values_whose_variance_overflows_are_refused() -> None:
    with pytest.raises(DatasetError, match="does not fit"):
        single([1e300, -1e300])


@pytest.mark.parametrize("rows", [100, 5_000, 65_536, 200_000])
def test_many_merged_sketches_still_stand_for_every_row(rows: int) -> None:
    merged = single([], pa.float64())
    values = np.random.default_rng(rows).normal(size=(8, rows))
    for part in values:
        merged.merge(single(part))
    column = merged.summary().columns["x"]
    assert isinstance(column, NumericSummary)
    assert column.weights.sum() == 8 * rows
    below = column.weights[column.values < 0].sum() / column.weights.sum()
    assert below == pytest.approx((values < 0).mean(), abs=0.003)


@pytest.mark.parametrize(("parts", "rows"), [(300, 100), (40, 700), (20, 2_048), (20, 2_049), (8, 16_383)])
def test_many_small_profiles_merge_to_the_ranks_of_the_whole(parts: int, rows: int) -> None:
    """Of days that follow a trend, as each of them has values of its own; a profile that was merged stays as it was."""
    days = [np.random.default_rng(day).normal(day / parts, size=rows) for day in range(parts)]
    profiles = [single(day) for day in days]
    merged = single([], pa.float64())
    for profile in profiles:
        merged.merge(profile)
    exact = np.sort(np.concatenate(days))
    for column, values in ((merged.summary().columns["x"], exact), (profiles[0].summary().columns["x"], days[0])):
        assert isinstance(column, NumericSummary)
        assert column.weights.sum() == len(values)
        ranks = (np.cumsum(column.weights) - column.weights / 2) / len(values)
        assert np.abs(ranks - np.searchsorted(np.sort(values), column.values, side="right") / len(values)).max() < 0.006
        assert column.distinct == pytest.approx(len(values), rel=0.12)


@pytest.mark.parametrize("values", [20_000, 1_000_000])
def test_identifiers_are_bounded_and_counted_by_estimate(values: int) -> None:
    column = single([f"id-{i}" for i in range(values)]).summary().columns["x"]
    assert isinstance(column, TextSummary)
    assert len(column.categories) <= MAX_CATEGORIES
    assert column.other == values - sum(column.categories.values())
    assert column.distinct == pytest.approx(values, rel=0.06)


@pytest.mark.parametrize("parts", [1, 4])
def test_what_is_frequent_is_found_among_identifiers(parts: int) -> None:
    """Also where the first 2,000 values are rare ones, which is how a file sorted by time begins."""
    rng = np.random.default_rng(3)
    rare = [f"id-{i}" for i in range(40_000)]
    often = [*["hot"] * 8_000, *["warm"] * 2_000]
    values = np.concatenate([rare[:5_000], rng.permutation(rare[5_000:] + often)])
    merged = single([], pa.string())
    for part in np.array_split(values, parts):
        merged.merge(single(part.tolist()))
    column = merged.summary().columns["x"]
    assert isinstance(column, TextSummary)
    assert list(column.categories)[:2] == ["hot", "warm"]
    assert column.categories["hot"] == pytest.approx(8_000, abs=50_000 / 900)
    assert column.categories["hot"] <= 8_000


@pytest.mark.parametrize(
    ("dictionary", "indices", "index_type"),
    [
        (["red", "blue", "unseen"], [0, 1, None, 0], pa.int32()),
        (["red", "blue", "red"], [0, 1, 2, None], pa.uint64()),
        (["red", "blue", None], [0, 1, 2, 0], pa.int8()),
    ],
)
def test_a_dictionary_is_profiled_as_the_texts_it_stands_for(
    dictionary: list[str | None], indices: list[int | None], index_type: pa.DataType
) -> None:
    """Also where it lists a value twice, a value that no row has, or a missing one."""
    coded = pa.DictionaryArray.from_arrays(pa.array(indices, index_type), pa.array(dictionary))
    texts = [None if index is None else dictionary[index] for index in indices]
    merged = single(texts)
    merged.merge(single(coded))
    assert single(coded).summary() == single(texts).summary()
    assert merged.summary() == single(texts + texts).summary()


@given(st.lists(st.text(max_size=12), min_size=1, max_size=40), st.lists(st.text(max_size=12), max_size=40))
@settings(deadline=None)
def test_lengths_of_texts(first: list[str], second: list[str]) -> None:
    profile = single(first)
    profile.merge(single(second, pa.string()))
    column = profile.summary().columns["x"]
    assert isinstance(column, TextSummary)
    assert column.lengths is not None
    lengths = [len(text) for text in first + second]
    assert (column.lengths.minimum, column.lengths.maximum) == (min(lengths), max(lengths))
    assert column.lengths.mean == pytest.approx(np.mean(lengths))
    assert column.lengths.std_dev == pytest.approx(np.std(lengths), abs=1e-9)


@pytest.mark.parametrize("distinct", [1, 2, 1023, 50_000])
@pytest.mark.parametrize("spacing", [1.0, 0.25, 1e-9, 2.0**40])
def test_distinct_numbers(distinct: int, spacing: float) -> None:
    """Whatever the numbers look like: whole ones, quarters, tiny ones, and multiples of a large power of two."""
    values = np.arange(distinct) * spacing
    merged = single([], pa.float64())
    for part in (values, values[: distinct // 2], -values[:1]):
        merged.merge(single(part))
    column = merged.summary().columns["x"]
    assert isinstance(column, NumericSummary)
    if distinct < 1024:
        assert column.distinct == distinct
    else:
        assert column.distinct == pytest.approx(distinct, rel=0.12)


@pytest.mark.parametrize("rows", [16_384, 65_536, 65_537, 300_000])
def test_ranks_of_a_large_batch_are_nearly_exact(rows: int) -> None:
    """Of the sampled sketch: every value stands for its rows, and no rank is off by more than half a percent."""
    values = np.random.default_rng(rows).lognormal(size=rows)
    column = single(values).summary().columns["x"]
    assert isinstance(column, NumericSummary)
    assert column.weights.sum() == rows
    ranks = (np.cumsum(column.weights) - column.weights / 2) / rows
    exact = np.searchsorted(np.sort(values), column.values) / rows
    assert np.abs(ranks - exact).max() < 0.005


def test_a_column_may_start_without_values_but_not_change_its_type() -> None:
    profile = single([None, None])
    profile.merge(single([1, 2]))
    column = profile.summary().columns["x"]
    assert isinstance(column, NumericSummary)
    assert (column.present, column.missing) == (2, 2)
    with pytest.raises(DatasetError, match="numbers in one part of the dataset and text in another"):
        profile.merge(single(["a"]))


def test_an_empty_column_and_a_date_are_unknown() -> None:
    assert isinstance(single([None]).summary().columns["x"], UnknownSummary)
    assert single([0], pa.date32()).summary().columns["x"].inferred_type == "Unknown"


def test_a_boolean_is_the_same_category_from_parquet_as_from_csv() -> None:
    column = single([True, False, True]).summary().columns["x"]
    assert isinstance(column, TextSummary)
    assert column.categories == {"True": 2, "False": 1}


def test_no_rows_is_an_error() -> None:
    with pytest.raises(DatasetError, match="no rows"):
        single([]).summary()

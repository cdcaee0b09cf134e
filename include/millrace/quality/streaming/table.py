"""The table of expectations that are streamed: an expectation's type, and what evaluates it."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from millrace.quality.expectation import Expectation
from millrace.quality.streaming import aggregates, distinct, row_level, shape
from millrace.quality.streaming.answers import Evaluation, NotStreamed
from millrace.quality.streaming.arguments import Arguments
from millrace.quality.streaming.counting import RowCondition, RowCount

Condition = Callable[[Arguments], RowCondition]


def _rows(condition: Condition) -> Callable[[Arguments], Evaluation]:
    """Rows that break a condition, up to the share that `mostly` leaves."""
    return lambda arguments: RowCount(condition(arguments), arguments.share("mostly", 1.0))


def _statistic(name: str) -> Callable[[Arguments], Evaluation]:
    return lambda arguments: aggregates.StatisticBetween(arguments, name)


ROW_CONDITIONS: MappingProxyType[str, Condition] = MappingProxyType(
    {
        "expect_column_values_to_not_be_null": row_level.not_null,
        "expect_column_values_to_be_null": row_level.null,
        "expect_column_values_to_be_between": row_level.between,
        "expect_column_values_to_be_in_set": row_level.in_set,
        "expect_column_values_to_not_be_in_set": row_level.not_in_set,
        "expect_column_values_to_match_regex": row_level.match_regex,
        "expect_column_values_to_not_match_regex": row_level.not_match_regex,
        "expect_column_values_to_match_regex_list": row_level.match_regex_list,
        "expect_column_values_to_not_match_regex_list": row_level.not_match_regex_list,
        "expect_column_values_to_match_like_pattern": row_level.match_like_pattern,
        "expect_column_values_to_not_match_like_pattern": row_level.not_match_like_pattern,
        "expect_column_values_to_match_like_pattern_list": row_level.match_like_pattern_list,
        "expect_column_values_to_not_match_like_pattern_list": row_level.not_match_like_pattern_list,
        "expect_column_values_to_match_strftime_format": row_level.strftime_format,
        "expect_column_values_to_be_dateutil_parseable": row_level.dateutil_parseable,
        "expect_column_values_to_be_json_parseable": row_level.json_parseable,
        "expect_column_value_lengths_to_be_between": row_level.value_lengths_between,
        "expect_column_value_lengths_to_equal": row_level.value_lengths_equal,
        "expect_column_pair_values_a_to_be_greater_than_b": row_level.pair_a_greater_than_b,
        "expect_column_pair_values_to_be_equal": row_level.pair_equal,
        "expect_column_pair_values_to_be_in_set": row_level.pair_in_set,
        "expect_multicolumn_sum_to_equal": row_level.multicolumn_sum_equal,
        "expect_multicolumn_values_to_be_equal": row_level.multicolumn_equal,
        "expect_select_column_values_to_be_unique_within_record": row_level.unique_within_record,
    }
)
"""Expectations that each row holds or breaks by itself: what quarantine goes by."""

TABLE: MappingProxyType[str, Callable[[Arguments], Evaluation]] = MappingProxyType(
    {
        **{name: _rows(condition) for name, condition in ROW_CONDITIONS.items()},
        "expect_table_row_count_to_be_between": shape.row_count_between,
        "expect_table_row_count_to_equal": shape.row_count_equal,
        "expect_table_column_count_to_be_between": shape.column_count_between,
        "expect_table_column_count_to_equal": shape.column_count_equal,
        "expect_table_columns_to_match_set": shape.columns_match_set,
        "expect_table_columns_to_match_ordered_list": shape.columns_match_ordered_list,
        "expect_column_to_exist": shape.column_exists,
        "expect_column_values_to_be_of_type": shape.of_type,
        "expect_column_values_to_be_in_type_list": shape.in_type_list,
        "expect_column_type_to_be": shape.type_is,
        "expect_column_min_to_be_between": _statistic("least"),
        "expect_column_max_to_be_between": _statistic("greatest"),
        "expect_column_mean_to_be_between": _statistic("mean"),
        "expect_column_sum_to_be_between": _statistic("sum"),
        "expect_column_stdev_to_be_between": _statistic("standard deviation"),
        "expect_column_proportion_of_non_null_values_to_be_between": aggregates.ShareOfValues,
        "expect_column_values_to_be_unique": distinct.unique,
        "expect_compound_columns_to_be_unique": distinct.compound_unique,
        "expect_column_unique_value_count_to_be_between": distinct.unique_count_between,
        "expect_column_proportion_of_unique_values_to_be_between": distinct.unique_share_between,
        "expect_column_distinct_values_to_be_in_set": distinct.distinct_in_set,
        "expect_column_distinct_values_to_equal_set": distinct.distinct_equal_set,
        "expect_column_distinct_values_to_contain_set": distinct.distinct_contain_set,
        "expect_column_most_common_value_to_be_in_set": distinct.most_common_in_set,
    }
)


def evaluation_of(expectation: Expectation) -> Evaluation:
    """What evaluates an expectation.

    Raises:
        NotStreamed: it is only evaluated in memory.
        SuiteError: its arguments cannot be right.
    """
    make = TABLE.get(expectation.type)
    if make is None:
        raise NotStreamed("it is not one of the expectations that are streamed")
    arguments = Arguments(expectation)
    evaluation = make(arguments)
    arguments.check()
    return evaluation


def row_condition_of(expectation: Expectation) -> RowCondition | None:
    """The condition on each row, or None when the expectation has none that is streamed."""
    condition = ROW_CONDITIONS.get(expectation.type)
    try:
        return None if condition is None else condition(Arguments(expectation))
    except NotStreamed:
        return None

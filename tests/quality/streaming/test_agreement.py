"""Every streamed expectation has Great Expectations' own answer: success, observed value, counts, percentages, lists.

Both look at the same generated tables: nulls, NaN, empty strings, integers and floats, booleans, text beyond ASCII, line
ends, a column without any value, one row, one value. The stream sees them in batches of an awkward size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.quality.expectation import Expectation
from millrace.quality.streaming.answers import Answer
from millrace.quality.streaming.batch_view import BatchView
from millrace.quality.streaming.suite_pass import InMemory, SuitePass
from millrace.quality.streaming.table import TABLE
from tests.quality.peer import evaluated

WORDS = ["red", "green", "blue", "", "Ünïcode", "two\nlines", "2024-01-31", "31.1.2024", "7", '{"a": 1}', "a$", "٣"]
NO_PEER = {name for name in TABLE if "like_pattern" in name}
"""Great Expectations evaluates these in databases only: test_row_level.py."""


def generated(seed: int, rows: int) -> pa.Table:
    """A table with a column of every kind that is streamed."""
    some = np.random.default_rng(seed)
    holes = [bool(x) for x in some.random(rows) < 0.2]
    floats = np.round(some.normal(10, 5, rows), 1)
    return pa.table(
        {
            "whole": pa.array(some.integers(0, 12, rows)),
            "holed": pa.array(some.integers(0, 12, rows), mask=np.array(holes)),
            "real": pa.array(np.where(some.random(rows) < 0.1, math.nan, floats)),
            "endless": pa.array(np.where(some.random(rows) < 0.05, math.inf, floats), mask=np.array(holes)),
            "text": pa.array([WORDS[n] for n in some.integers(0, 12, rows)], mask=np.array(holes)),
            "plain": pa.array([WORDS[n] for n in some.integers(0, 3, rows)]),
            "yes": pa.array(some.random(rows) < 0.5),
            "maybe": pa.array(some.random(rows) < 0.5, mask=np.array(holes)),
            "unique": pa.array(np.arange(rows)),
            "nothing": pa.nulls(rows),
            "constant": pa.array([3.5] * rows),
        }
    )  # fmt: skip


def column(name: str, kind: str, **kwargs: Any) -> Expectation:
    return Expectation(type=f"expect_column_{kind}", kwargs={"column": name, **kwargs})


NUMBERS = ("whole", "holed", "real", "endless", "constant", "nothing", "unique")
TEXTS = ("text", "plain", "nothing")
ANY = (*NUMBERS, "text", "plain", "yes", "maybe")
MOSTLY: tuple[dict[str, float], ...] = ({}, {"mostly": 0.5}, {"mostly": 0.8}, {"mostly": 0})
EXPECTATIONS: list[Expectation] = [
    *(column(name, f"values_to_{kind}be_null", **mostly) for name in ANY for kind in ("", "not_") for mostly in MOSTLY[:2]),
    *(
        column(name, "values_to_be_between", **bounds, **mostly)
        for name in (*NUMBERS, "yes", "maybe", "text")
        for bounds in ({"min_value": 1}, {"max_value": 9.5}, {"min_value": 0, "max_value": 11},
                       {"min_value": 3, "max_value": 9, "strict_min": True},
                       {"min_value": 3, "max_value": 9, "strict_max": True})
        for mostly in MOSTLY[:3]
    ),
    *(
        column(name, f"values_to_{kind}be_in_set", value_set=members, **mostly)
        for name in ANY
        for kind in ("", "not_")
        for members in ([1, 2, 3, 3.5], [True, "red", 4], ["red", "blue", ""], [1.5, "7", 0])
        for mostly in MOSTLY[:2]
    ),
    *(
        column(name, f"distinct_values_to_{kind}_set", value_set=members)
        for name in ANY
        for kind in ("be_in", "equal", "contain")
        for members in ([1, 2, 3, 3.5], ["red", "green", "blue"], list(range(12)), [True, False], [3.5])
    ),
    *(
        column(name, f"values_to_{kind}match_regex", regex=regex, **mostly)
        for name in TEXTS
        for kind in ("", "not_")
        for regex in (r"^\d$", "e", "^(red|blue)$", r"s$", r"(?i)RED", r"\$", "n.c", r"e{2}", r"^\w+$")
        for mostly in MOSTLY[:2]
    ),
    *(
        column(name, f"values_to_{kind}match_regex_list", regex_list=["^r", "e"], **more)
        for name in TEXTS[:2]
        for kind, more in (("", {}), ("", {"match_on": "all"}), ("not_", {}))
    ),
    *(column(name, "value_lengths_to_equal", value=length) for name in TEXTS for length in (0, 3, 7)),
    *(
        column(name, "value_lengths_to_be_between", **bounds)
        for name in TEXTS
        for bounds in ({"min_value": 1}, {"max_value": 4}, {"min_value": 3, "max_value": 5, "strict_max": True})
    ),
    *(column(name, "values_to_match_strftime_format", strftime_format="%Y-%m-%d") for name in TEXTS),
    *(column(name, f"values_to_be_{kind}_parseable") for name in TEXTS for kind in ("json", "dateutil")),
    *(
        column(name, f"{statistic}_to_be_between", **bounds)
        for name in NUMBERS
        for statistic in ("min", "max", "mean", "sum", "stdev")
        for bounds in ({"min_value": 0}, {"max_value": 10}, {"min_value": 3.5, "max_value": 3.5, "strict_max": True}, {})
    ),
    *(
        column(name, f"{kind}_to_be_between", **bounds)
        for name in ANY
        for kind in ("unique_value_count", "proportion_of_unique_values", "proportion_of_non_null_values")
        for bounds in ({"min_value": 1, "max_value": 12}, {"max_value": 0}, {"min_value": 0, "strict_min": True})
    ),
    *(column(name, "values_to_be_unique", **mostly) for name in ANY for mostly in MOSTLY),
    *(
        column(name, "most_common_value_to_be_in_set", value_set=members, ties_okay=ties)
        for name in ANY
        for members in ([3.5], ["red", "green"], [True])
        for ties in (True, False)
    ),
    *(column(name, "values_to_be_of_type", type_=kind) for name in ANY for kind in ("int64", "float", "str", "bool", "int")),
    *(column(name, "values_to_be_in_type_list", type_list=["int64", "str"]) for name in ANY),
    *(column(name, "type_to_be", type_=kind) for name in ANY for kind in ("int64", "str", "bool")),
    *(column(name, "to_exist") for name in ("whole", "nowhere")),
    column("whole", "to_exist", column_index=0),
    column("holed", "to_exist", column_index=1),
    column("holed", "to_exist", column_index=2),
    *(
        Expectation(type=f"expect_column_pair_values_{kind}", kwargs={"column_A": a, "column_B": b, **more})
        for a, b in (("whole", "holed"), ("real", "endless"), ("text", "plain"), ("nothing", "holed"))
        for kind in ("a_to_be_greater_than_b", "to_be_equal")
        for more in ({}, {"mostly": 0.3}, {"ignore_row_if": "either_value_is_missing"}, {"ignore_row_if": "neither"})
    ),
    Expectation(
        type="expect_column_pair_values_a_to_be_greater_than_b",
        kwargs={"column_A": "whole", "column_B": "holed", "or_equal": True},
    ),
    *(
        Expectation(
            type="expect_column_pair_values_to_be_in_set",
            kwargs={"column_A": a, "column_B": b, "value_pairs_set": [[1, 2], [3, None], ["red", "red"], [4, 4]]},
        )
        for a, b in (("whole", "unique"), ("text", "plain"))
    ),
    *(
        Expectation(type=kind, kwargs={"column_list": list(names), **more})
        for names in (("whole", "holed"), ("whole", "constant", "real"), ("plain", "text"))
        for kind in ("expect_compound_columns_to_be_unique", "expect_multicolumn_values_to_be_equal",
                     "expect_select_column_values_to_be_unique_within_record")
        for more in ({}, {"mostly": 0.5}, {"ignore_row_if": "any_value_is_missing"}, {"ignore_row_if": "never"})
    ),
    *(
        Expectation(type="expect_multicolumn_sum_to_equal", kwargs={"column_list": list(names), "sum_total": total})
        for names in (("whole", "holed"), ("whole", "constant", "unique"))
        for total in (7, 10.5)
    ),
    *(Expectation(type="expect_table_row_count_to_be_between", kwargs=bounds) for bounds in (
        {"min_value": 1}, {"max_value": 100}, {"min_value": 90, "max_value": 90})),
    *(Expectation(type="expect_table_row_count_to_equal", kwargs={"value": rows}) for rows in (1, 90)),
    *(Expectation(type="expect_table_column_count_to_equal", kwargs={"value": columns}) for columns in (1, 11)),
    Expectation(type="expect_table_column_count_to_be_between", kwargs={"min_value": 2, "max_value": 20}),
    *(
        Expectation(type="expect_table_columns_to_match_set", kwargs={"column_set": names, "exact_match": exact})
        for names in (["whole"], ["whole", "nowhere"], ["WHOLE"])
        for exact in (True, False)
    ),
    Expectation(type="expect_table_columns_to_match_ordered_list", kwargs={"column_list": ["whole", "real"]}),
    column("nowhere", "values_to_not_be_null"),
    column("nowhere", "mean_to_be_between", min_value=0),
    column("WHOLE", "values_to_be_between", max_value=5),
]  # fmt: skip
MUST_BE_STREAMED = {one.type for one in EXPECTATIONS}


def streamed(table: pa.Table, expectations: list[Expectation], batch_rows: int) -> list[Answer | InMemory]:
    found, row = SuitePass(expectations), 0
    for batch in table.to_batches(max_chunksize=batch_rows):
        found.add(BatchView(batch, row))
        row += batch.num_rows
    return found.answers()


def test_the_table_is_covered() -> None:
    assert set(TABLE) - NO_PEER == MUST_BE_STREAMED


def test_every_kind_of_expectation_is_streamed() -> None:
    answers = streamed(generated(0, 90), EXPECTATIONS, 37)
    seen = {e.type for e, answer in zip(EXPECTATIONS, answers, strict=True) if isinstance(answer, Answer)}
    assert seen == MUST_BE_STREAMED


@pytest.mark.parametrize(("seed", "rows", "batch_rows"), [(0, 90, 37), (1, 300, 64), (2, 1, 1), (3, 25, 25)])
def test_the_answers_are_those_of_great_expectations(seed: int, rows: int, batch_rows: int) -> None:
    table = generated(seed, rows)
    expectations = EXPECTATIONS[seed::4]  # Great Expectations takes 14 ms for each
    answers = streamed(table, expectations, batch_rows)
    peers = evaluated(table, expectations)
    differences = [
        f"{expectation.type}{dict(expectation.kwargs)}:\n  streamed {answer}\n  peer     {peer['success']} "
        f"{peer['result']} {raised(peer)}"
        for expectation, answer, peer in zip(expectations, answers, peers, strict=True)
        if isinstance(answer, Answer) and not agree(answer, peer)
    ]
    assert not differences, f"{len(differences)} of {len(answers)} differ:\n" + "\n".join(differences[:25])


def agree(answer: Answer, peer: dict[str, Any]) -> bool:
    if answer.exception is not None or raised(peer) is not None:
        return answer.exception == raised(peer) and answer.success == peer["success"]
    return answer.success == peer["success"] and same(without_missing(answer.result), without_missing(peer["result"]))


def raised(peer: dict[str, Any]) -> str | None:
    info = peer["exception_info"]
    records = [info] if "raised_exception" in info else list(info.values())
    return next((str(record["exception_message"]) for record in records if record["raised_exception"]), None)


def without_missing(result: dict[str, Any]) -> dict[str, Any]:
    """Missing values among the unexpected ones are NaN in pandas, each a value of its own: their counts are left out.
    The order of missing members of a set is that of a hash there."""
    counts = result.get("partial_unexpected_counts", [])
    has_missing = any(
        value is None or (isinstance(value, list) and None in value)
        for value in result.get("partial_unexpected_list", [])
        for value in (list(value.values()) if isinstance(value, dict) else value,)
    )
    members = {name: sorted(map(str, result[name])) for name in ("partial_missing_list",) if name in result}
    return {**result, "partial_unexpected_counts": [] if has_missing else counts, **members}  # fmt: skip


def same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, dict):
        return isinstance(theirs, dict) and mine.keys() == theirs.keys() and all(same(mine[k], theirs[k]) for k in mine)
    if isinstance(mine, (list, tuple)):
        return isinstance(theirs, list) and len(mine) == len(theirs) and all(map(same, mine, theirs))
    if isinstance(mine, float) and isinstance(theirs, (int, float)):
        return mine == theirs or math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-9)
    return bool(mine == theirs)

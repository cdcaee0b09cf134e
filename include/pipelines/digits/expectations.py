"""What the digits data must look like: three suites, one a gate, in the form in which Great Expectations writes them.

Imported inside processing jobs (`millrace.quality` calls the functions), never by a DAG.
"""

from __future__ import annotations

from typing import Any

from pipelines.digits.settings import LABEL, PIXELS


def raw_digits() -> dict[str, Any]:
    """The labelled data before training: complete images, ten classes, none of them rare."""
    return _suite(
        "raw digits",
        _expect("table_columns_to_match_set", column_set=[*PIXELS, LABEL], exact_match=True),
        _expect("table_row_count_to_be_between", min_value=200),
        *_images(),
        _expect("column_distinct_values_to_equal_set", column=LABEL, value_set=list(range(10))),
        _expect("column_values_to_not_be_null", column=LABEL),
    )


def incoming_digits() -> dict[str, Any]:
    """A batch to be scored: complete images, no label needed."""
    return _suite(
        "incoming digits",
        _expect("table_columns_to_match_set", column_set=list(PIXELS), exact_match=False),
        _expect("table_row_count_to_be_between", min_value=1),
        *_images(),
    )


def scored_digits(rows: int) -> dict[str, Any]:
    """Predictions joined to their input: one for each of `rows` images, a digit each, a confidence in 0..1."""
    return _suite(
        "scored digits",
        _expect("table_row_count_to_equal", value=rows),
        _expect("column_values_to_not_be_null", column="prediction"),
        _expect("column_values_to_be_in_set", column="prediction", value_set=list(range(10))),
        _expect("column_values_to_be_between", column="confidence", min_value=0, max_value=1),
    )


def _images() -> list[dict[str, Any]]:
    """Every pixel is there and lies in the 0..16 of the UCI data."""
    return [
        *(_expect("column_values_to_not_be_null", column=pixel) for pixel in PIXELS),
        *(_expect("column_values_to_be_between", column=pixel, min_value=0, max_value=16) for pixel in PIXELS),
    ]


def _suite(name: str, *expectations: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "expectations": list(expectations)}


def _expect(what: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{what}", "kwargs": kwargs}

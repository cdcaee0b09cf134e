"""What the digits data must look like: three Great Expectations suites, one a gate.

Imported inside processing jobs (`millrace.quality` calls the functions), never by a DAG.
"""

from __future__ import annotations

from typing import Any

from pipelines.digits.settings import LABEL, PIXELS


def _image_expectations(gxe: Any) -> list[Any]:
    """Every pixel is there and lies in the 0..16 of the UCI data."""
    return [
        *(gxe.ExpectColumnValuesToNotBeNull(column=pixel) for pixel in PIXELS),
        *(gxe.ExpectColumnValuesToBeBetween(column=pixel, min_value=0, max_value=16) for pixel in PIXELS),
    ]


def raw_digits() -> Any:
    """The labelled data before training: complete images, ten classes, none of them rare."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    return gx.ExpectationSuite(
        name="raw digits",
        expectations=[
            gxe.ExpectTableColumnsToMatchSet(column_set=[*PIXELS, LABEL], exact_match=True),
            gxe.ExpectTableRowCountToBeBetween(min_value=200),
            *_image_expectations(gxe),
            gxe.ExpectColumnDistinctValuesToEqualSet(column=LABEL, value_set=list(range(10))),
            gxe.ExpectColumnValuesToNotBeNull(column=LABEL),
        ],
    )


def incoming_digits() -> Any:
    """A batch to be scored: complete images, no label needed."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    return gx.ExpectationSuite(
        name="incoming digits",
        expectations=[
            gxe.ExpectTableColumnsToMatchSet(column_set=list(PIXELS), exact_match=False),
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
            *_image_expectations(gxe),
        ],
    )


def scored_digits(rows: int) -> Any:
    """Predictions joined to their input: one for each of `rows` images, a digit each, a confidence in 0..1."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    return gx.ExpectationSuite(
        name="scored digits",
        expectations=[
            gxe.ExpectTableRowCountToEqual(value=rows),
            gxe.ExpectColumnValuesToNotBeNull(column="prediction"),
            gxe.ExpectColumnValuesToBeInSet(column="prediction", value_set=list(range(10))),
            gxe.ExpectColumnValuesToBeBetween(column="confidence", min_value=0, max_value=1),
        ],
    )

"""What cannot be streamed: expectations that Great Expectations itself evaluates, on a pandas dataframe of all rows.

Only the columns that they name are read, but all rows of them are held at once. Importing Great Expectations takes
seconds, which is why nothing here is imported before it is needed. The context is ephemeral, analytics and progress bars
are off, and no call leaves the machine.

API: https://docs.greatexpectations.io/docs/reference/api/datasource/fluent/interfaces/batch_class/
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from millrace.quality.errors import BatchError, SuiteError
from millrace.quality.expectation import Expectation
from millrace.quality.quiet import quiet
from millrace.quality.streaming.answers import Answer
from millrace.quality.streaming.batch_view import BatchView, MissingColumn

NAMING = ("column", "column_A", "column_B", "column_list")
"""The arguments that name columns."""
POSITION = "millrace:position"


def check(expectations: Sequence[Expectation]) -> None:
    """Refuse what Great Expectations does not understand, before any row is read.

    Raises:
        SuiteError: an expectation has an unknown type or an argument that cannot be right.
    """
    if expectations:
        with quiet():
            _suite(expectations)


def evaluate(batches: Iterable[pa.RecordBatch], expectations: Sequence[Expectation]) -> list[Answer]:
    """The answers of Great Expectations, in the order of the expectations.

    Raises:
        BatchError: a column has values of types that do not go together.
        SuiteError: as `check`.
    """
    needed = columns_of(expectations)
    try:
        parts = [pa.Table.from_batches([_only(batch, needed)]) for batch in batches]
        table = pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise BatchError(
            f"the files of the batch cannot be put together: {error}; write a column with one type"
        ) from error
    frame = table.to_pandas()
    with quiet():
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        suite = _suite(expectations)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("files").add_dataframe_asset("batch")
        batch = asset.add_batch_definition_whole_dataframe("all rows").get_batch({"dataframe": frame})
        found = batch.validate(suite).to_json_dict()["results"]
    by_position = {result["expectation_config"]["meta"][POSITION]: result for result in found}
    return [_answer(by_position[position]) for position in range(len(expectations))]


def columns_of(expectations: Sequence[Expectation]) -> set[str] | None:
    """The columns that the expectations look at; None for all, when one of them does not say."""
    names: set[str] = set()
    for expectation in expectations:
        named = [expectation.kwargs[argument] for argument in NAMING if expectation.kwargs.get(argument)]
        if not named or expectation.kwargs.get("row_condition"):
            return None
        for value in named:
            names |= {value} if isinstance(value, str) else set(map(str, value))
    return names


def _only(batch: pa.RecordBatch, names: set[str] | None) -> pa.RecordBatch:
    if names is None:
        return batch
    view, there = BatchView(batch, 0), []
    for name in names:
        with contextlib.suppress(MissingColumn):
            there.append(view.position(name))
    # With no column at all the number of rows would be lost: what is missing is then said of another column's table.
    return batch.select(sorted(set(there)) or [0])


def _suite(expectations: Sequence[Expectation]) -> Any:
    from great_expectations.core import ExpectationSuite

    documents = [
        {**one.to_json(), "meta": {**one.meta, POSITION: position}} for position, one in enumerate(expectations)
    ]
    suite = ExpectationSuite(name="in memory")
    for document in documents:
        try:
            suite.add_expectation_configuration(_configuration(document))
        except Exception as error:  # of many unrelated types: pydantic's, ValueError, Great Expectations' own
            text = " ".join(str(error).split())[:300]
            raise SuiteError(f"Great Expectations does not take {document['type']}: {text}") from error
    return suite


def _configuration(document: dict[str, Any]) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(**document)


def _answer(result: dict[str, Any]) -> Answer:
    info = result.get("exception_info") or {}
    records = [info] if "raised_exception" in info else [record for record in info.values() if isinstance(record, dict)]
    raised = next((record for record in records if record.get("raised_exception")), None)
    return Answer(
        success=bool(result["success"]),
        result=result.get("result") or {},
        exception=str(raised["exception_message"]) if raised else None,
    )

"""Twenty checks of the gate benchmark in a peer: `python gates.py read|great_expectations|pandera|duckdb FILE SUITE`.

SUITE is the suite as JSON. Prints the names of the expectations that fail, one JSON list, so that answers can be compared.
Pandera knows no quantity of a whole column: those checks are lambdas over the column, as its documentation writes them.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any


def read(path: str, _suite: list[dict[str, Any]]) -> list[str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:
        for _ in file.iter_batches(64 * 1024):
            pass
    return []


def great_expectations(path: str, suite: list[dict[str, Any]]) -> list[str]:
    import os

    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    import pandas as pd

    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas("files").add_dataframe_asset("batch")
    batch = asset.add_batch_definition_whole_dataframe("rows").get_batch({"dataframe": pd.read_parquet(path)})
    found = batch.validate(gx.ExpectationSuite(name="peer", expectations=suite)).to_json_dict()["results"]
    return [one["expectation_config"]["type"] for one in found if not one["success"]]


def pandera(path: str, suite: list[dict[str, Any]]) -> list[str]:
    import pandera.polars as pa
    import polars as pl

    frame = pl.read_parquet(path)
    columns: dict[str, Any] = {}
    for one in suite:
        arguments = one["kwargs"]
        column = arguments.get("column")
        if column is None:
            continue
        checks, options = columns.setdefault(column, ([], {"nullable": True}))
        if one["type"] == "expect_column_values_to_not_be_null":
            options["nullable"] = False
        elif one["type"] == "expect_column_values_to_be_between":
            checks.append(pa.Check.in_range(arguments["min_value"], arguments["max_value"]))
        elif one["type"] == "expect_column_values_to_be_in_set":
            checks.append(pa.Check.isin(arguments["value_set"]))
        elif one["type"] == "expect_column_values_to_match_regex":
            checks.append(pa.Check.str_matches(arguments["regex"]))
        elif one["type"] == "expect_column_mean_to_be_between":
            low, high = arguments["min_value"], arguments["max_value"]
            checks.append(
                pa.Check(
                    lambda data, low=low, high=high: data.lazyframe.select(
                        pl.col(data.key).mean().is_between(low, high)
                    )
                )
            )
    schema = pa.DataFrameSchema(
        {name: pa.Column(checks=checks, **options) for name, (checks, options) in columns.items()}
    )
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        return sorted({str(case["column"]) for case in error.failure_cases.to_dicts()})
    return []


def duckdb(path: str, suite: list[dict[str, Any]]) -> list[str]:
    import duckdb as db

    rules = {
        "expect_column_values_to_not_be_null": "count(*) - count({column}) = 0",
        "expect_column_values_to_be_between": "min({column}) >= {min_value} and max({column}) <= {max_value}",
        "expect_column_values_to_be_in_set": "count_if({column} not in {values}) = 0",
        "expect_column_values_to_match_regex": "count_if(not regexp_matches({column}, '{regex}')) = 0",
        "expect_column_mean_to_be_between": "avg({column}) between {min_value} and {max_value}",
        "expect_table_row_count_to_be_between": "count(*) >= {min_value}",
    }
    said = [one for one in suite if one["type"] in rules]
    parts = [
        rules[one["type"]].format(**one["kwargs"], values=tuple(one["kwargs"].get("value_set", ()))) for one in said
    ]
    [held] = db.sql(f"select {', '.join(parts)} from '{path}'").fetchall()
    return [one["type"] for one, holds in zip(said, held, strict=True) if not holds]


def main() -> None:
    warnings.simplefilter("ignore")
    way, path, suite = sys.argv[1:]
    print(json.dumps(globals()[way](path, json.loads(Path(suite).read_text())["expectations"])))


if __name__ == "__main__":
    main()

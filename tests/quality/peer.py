"""Great Expectations on pandas: whom the streamed gate must agree with, expectation by expectation."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from millrace.quality.expectation import Expectation

os.environ["GX_ANALYTICS_ENABLED"] = "false"


def evaluated(table: pa.Table, expectations: Sequence[Expectation]) -> list[dict[str, Any]]:
    """The result of every expectation, in their order; `result` and `exception_info` as in validation.json."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("files").add_dataframe_asset("batch")
        batch = asset.add_batch_definition_whole_dataframe("rows").get_batch({"dataframe": table.to_pandas()})
        documents = [{**one.to_json(), "meta": {"position": n}} for n, one in enumerate(expectations)]
        suite = gx.ExpectationSuite(name="peer", expectations=documents)
        found = json.loads(json.dumps(batch.validate(suite).to_json_dict()))["results"]
    assert len(found) == len(expectations), "Great Expectations has left out an expectation that it does not understand"
    return sorted(found, key=lambda result: result["expectation_config"]["meta"]["position"])

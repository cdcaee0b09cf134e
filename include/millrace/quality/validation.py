"""Judge a batch by a suite with Great Expectations, and write its Data Docs site.

The context is ephemeral: nothing is stored but the site. Analytics and progress bars are off; no call leaves the
machine. `GX_ANALYTICS_ENABLED` must be unset or false before Great Expectations is first imported (`__main__` sees to
that).

API: https://docs.greatexpectations.io/docs/reference/api/data_context/abstractdatacontext_class/
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core import ExpectationSuite, RunIdentifier
from great_expectations.data_context.types.base import ProgressBarsConfig

SITE = "data_docs"


def validate(batch: pd.DataFrame, suite: ExpectationSuite, *, gate: str, site: Path) -> dict[str, Any]:
    """The validation result as Great Expectations' JSON document; its pages are written under `site`."""
    run_name = re.sub(r"[^A-Za-z0-9-]+", "-", gate).strip("-") or "gate"
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    context.add_data_docs_site(
        SITE,
        {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site.resolve())},
        },
    )
    asset = context.data_sources.add_pandas("files").add_dataframe_asset("batch")
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(
            name=run_name, data=asset.add_batch_definition_whole_dataframe("all rows"), suite=context.suites.add(suite)
        )
    )
    checkpoint = context.checkpoints.add(gx.Checkpoint(name=run_name, validation_definitions=[definition], actions=[]))
    outcome = checkpoint.run(batch_parameters={"dataframe": batch}, run_id=RunIdentifier(run_name=run_name))
    context.build_data_docs(site_names=[SITE])
    (result,) = outcome.run_results.values()
    document: dict[str, Any] = result.to_json_dict()
    return document

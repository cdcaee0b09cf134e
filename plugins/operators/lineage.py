"""OpenLineage: what a step read, wrote and measured, for Airflow's OpenLineage provider where one is installed.

The provider asks an operator's `get_openlineage_facets_on_complete` and `..._on_failure`; both end here. What it does not
do: it emits nothing itself, and without the provider it is never called.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


def lineage(inputs: Mapping[str, str], outputs: Mapping[str, str], facts: Mapping[str, Any]) -> OperatorLineage:
    """Datasets by the OpenLineage naming of S3 (`s3://bucket`, key), and the step's facts as a run facet `sagemaker`."""
    import attrs
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import Dataset
    from openlineage.client.facet_v2 import RunFacet

    def dataset(uri: str) -> Dataset:
        scheme, _, path = uri.partition("://")
        authority, _, name = path.partition("/")
        return Dataset(namespace=f"{scheme}://{authority}", name=name.rstrip("/") or "/")

    facet = attrs.make_class(
        "SageMakerRunFacet", {name: attrs.field(default=None) for name in facts}, bases=(RunFacet,), kw_only=True
    )
    return OperatorLineage(
        inputs=[dataset(uri) for uri in inputs.values()],
        outputs=[dataset(uri) for uri in outputs.values()],
        run_facets={"sagemaker": facet(**facts, producer=f"millrace/{version('millrace')}")} if facts else {},
    )

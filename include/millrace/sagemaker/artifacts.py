"""What a job read and what it wrote, as S3 URIs by name, from its Describe answer. One table, a row for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .kinds import PROCESSING, TRAINING, TRANSFORM, Kind

Description = Mapping[str, Any]
Artifacts = dict[str, str]


def _channels(description: Description) -> Artifacts:
    channels = description.get("InputDataConfig") or []
    sources = {item["ChannelName"]: (item.get("DataSource") or {}).get("S3DataSource") for item in channels}
    return {name: source["S3Uri"] for name, source in sources.items() if source}


def _model(description: Description) -> Artifacts:
    model = (description.get("ModelArtifacts") or {}).get("S3ModelArtifacts")
    return {"model": model} if model else {}


def _processing_inputs(description: Description) -> Artifacts:
    inputs = description.get("ProcessingInputs") or []
    return {item["InputName"]: item["S3Input"]["S3Uri"] for item in inputs if item.get("S3Input")}


def _processing_outputs(description: Description) -> Artifacts:
    outputs = (description.get("ProcessingOutputConfig") or {}).get("Outputs") or []
    return {item["OutputName"]: item["S3Output"]["S3Uri"] for item in outputs if item.get("S3Output")}


def _transform_input(description: Description) -> Artifacts:
    return {"data": description["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]}


def _transform_output(description: Description) -> Artifacts:
    return {"predictions": description["TransformOutput"]["S3OutputPath"]}


_TABLE: Mapping[str, tuple[Callable[[Description], Artifacts], Callable[[Description], Artifacts]]] = {
    TRAINING.name: (_channels, _model),
    PROCESSING.name: (_processing_inputs, _processing_outputs),
    TRANSFORM.name: (_transform_input, _transform_output),
}


def inputs(kind: Kind, description: Description) -> Artifacts:
    """Name to S3 URI of what the job reads, its code included."""
    return _TABLE[kind.name][0](description)


def outputs(kind: Kind, description: Description) -> Artifacts:
    """Name to S3 URI of what the job writes."""
    return _TABLE[kind.name][1](description)


def metrics(description: Description) -> dict[str, float]:
    """The last value of each metric that SageMaker read from a training job's log."""
    return {item["MetricName"]: float(item["Value"]) for item in description.get("FinalMetricDataList") or []}

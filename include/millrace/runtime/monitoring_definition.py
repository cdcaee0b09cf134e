"""What a monitoring job is to do, whichever way it was said: as one of the four kinds of job definition, or in a schedule.

The table of kinds is here. `of_kind` and `inline` read the two forms into one, and `check` refuses what is not offered. What
it does not do: it makes no job of it (`monitoring_execution.py`).

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateDataQualityJobDefinition.html and its siblings.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .database import Database
from .errors import ValidationException
from .refuse import unless_offered, unless_value

PROCESSING = "/opt/ml/processing/"


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionKind:
    """One kind of monitoring job definition."""

    monitoring_type: str
    """SageMaker's word for it, which its operations and fields begin with: `DataQuality`."""
    kind: str
    """The word in ARNs."""
    analysis: str
    """The analyzer's word for it: `analysis_type` of a job's environment."""
    baseline: Mapping[str, str]
    """The files that a baselining job writes, by what they are to a job: constraints, statistics."""
    needs_truth: bool
    """Whether it holds predictions against ground truth."""

    @property
    def prefix(self) -> str:
        return f"{self.monitoring_type}JobDefinition"


KINDS = {
    kind.monitoring_type: kind
    for kind in (
        DefinitionKind(
            monitoring_type="DataQuality",
            kind="data-quality-job-definition",
            analysis="DATA_QUALITY",
            baseline={"constraints": "constraints.json", "statistics": "statistics.json"},
            needs_truth=False,
        ),
        DefinitionKind(
            monitoring_type="ModelQuality",
            kind="model-quality-job-definition",
            analysis="MODEL_QUALITY",
            baseline={"constraints": "constraints.json"},
            needs_truth=True,
        ),
        DefinitionKind(
            monitoring_type="ModelBias",
            kind="model-bias-job-definition",
            analysis="MODEL_BIAS",
            baseline={"constraints": "analysis.json"},
            needs_truth=True,
        ),
        DefinitionKind(
            monitoring_type="ModelExplainability",
            kind="model-explainability-job-definition",
            analysis="MODEL_EXPLAINABILITY",
            baseline={"constraints": "analysis.json"},
            needs_truth=False,
        ),
    )
}
SOURCE_OFFERED = (
    "EndpointName", "DataCapturedDestinationS3Uri", "DatasetFormat", "LocalPath", "S3InputMode", "S3DataDistributionType",
    "StartTimeOffset", "EndTimeOffset", "ExcludeFeaturesAttribute", "FeaturesAttribute", "InferenceAttribute",
    "ProbabilityAttribute", "ProbabilityThresholdAttribute",
)  # fmt: skip
OF_A_MODEL = ("FeaturesAttribute", "InferenceAttribute", "ProbabilityAttribute", "ProbabilityThresholdAttribute")
"""Members of an input that say something of the model, which data quality does not look at."""
OF_DATA = ("ExcludeFeaturesAttribute",)
"""What data quality alone looks at: the other kinds are told which columns they need."""
APPLICATION_OFFERED = (
    "ImageUri", "ContainerEntrypoint", "ContainerArguments", "Environment", "ConfigUri", "ProblemType",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A monitoring job, as both forms say it; the values are members of the request as they came."""

    type: DefinitionKind
    application: Mapping[str, Any]
    """With its Environment in it."""
    endpoint_input: Mapping[str, Any] | None
    batch_input: Mapping[str, Any] | None
    ground_truth: Mapping[str, Any] | None
    output: Mapping[str, Any]
    """The S3Output."""
    baseline: Mapping[str, Any]
    cluster: Mapping[str, Any]
    stopping: Mapping[str, Any] | None
    network: Mapping[str, Any] | None
    role: str

    @property
    def source(self) -> Mapping[str, Any]:
        """The input, of whichever of the two kinds."""
        return self.endpoint_input or self.batch_input or {}

    @property
    def endpoint(self) -> str | None:
        return (self.endpoint_input or {}).get("EndpointName")


def of_kind(kind: DefinitionKind, request: Mapping[str, Any]) -> Definition:
    """From the request of a Create…JobDefinition."""
    name = kind.monitoring_type
    job_input = request[f"{name}JobInput"]
    return Definition(
        type=kind,
        application=request[f"{name}AppSpecification"],
        endpoint_input=job_input.get("EndpointInput"),
        batch_input=job_input.get("BatchTransformInput"),
        ground_truth=job_input.get("GroundTruthS3Input"),
        output=request[f"{name}JobOutputConfig"]["MonitoringOutputs"][0]["S3Output"],
        baseline=request.get(f"{name}BaselineConfig") or {},
        cluster=request["JobResources"]["ClusterConfig"],
        stopping=request.get("StoppingCondition"),
        network=request.get("NetworkConfig"),
        role=request["RoleArn"],
    )


def inline(kind: DefinitionKind, request: Mapping[str, Any]) -> Definition:
    """From the MonitoringJobDefinition inside a schedule."""
    job_input = request["MonitoringInputs"][0]
    return Definition(
        type=kind,
        application={**request["MonitoringAppSpecification"], "Environment": request.get("Environment") or {}},
        endpoint_input=job_input.get("EndpointInput"),
        batch_input=job_input.get("BatchTransformInput"),
        ground_truth=None,
        output=request["MonitoringOutputConfig"]["MonitoringOutputs"][0]["S3Output"],
        baseline=request.get("BaselineConfig") or {},
        cluster=request["MonitoringResources"]["ClusterConfig"],
        stopping=request.get("StoppingCondition"),
        network=request.get("NetworkConfig"),
        role=request["RoleArn"],
    )


def scheduled(config: Mapping[str, Any], database: Database) -> Definition:
    """What a MonitoringScheduleConfig runs.

    Raises:
        ValidationException: it says neither or both ways, or its job definition is not there.
    """
    name, own = config.get("MonitoringJobDefinitionName"), config.get("MonitoringJobDefinition")
    if (name is None) == (own is None):
        raise ValidationException(
            "MonitoringScheduleConfig: give either MonitoringJobDefinitionName (with its MonitoringType) or "
            "MonitoringJobDefinition"
        )
    kind = KINDS[config.get("MonitoringType", "DataQuality")]
    if own is not None:
        return inline(kind, own)
    found = database.get(kind.kind, str(name))
    if found is None:
        raise ValidationException(
            f'Could not find job definition "{name}" of MonitoringType {kind.monitoring_type}; create it first, or give the '
            "MonitoringType that it has"
        )
    return of_kind(kind, found.document["request"])


def check(operation: str, definition: Definition) -> None:
    """Refuse a definition that SageMaker would refuse, or that this runtime does not offer.

    Raises:
        ValidationException: what is wrong with it.
    """
    if (definition.endpoint_input is None) == (definition.batch_input is None):
        raise ValidationException(f"{operation}: give either EndpointInput or BatchTransformInput")
    if definition.type.needs_truth and definition.ground_truth is None:
        raise ValidationException(
            f"{operation}: {definition.type.monitoring_type} needs a GroundTruthS3Input; a MonitoringJobDefinition inside "
            f"of a schedule has none: create a {definition.type.prefix}"
        )
    of_others = OF_A_MODEL if definition.type.monitoring_type == "DataQuality" else OF_DATA
    source, path = definition.source, "BatchTransformInput." if definition.batch_input else "EndpointInput."
    unless_offered(operation, source, [name for name in SOURCE_OFFERED if name not in of_others], path)
    unless_value(operation, f"{path}S3InputMode", source.get("S3InputMode"), ("File",))
    distribution = source.get("S3DataDistributionType")
    unless_value(operation, f"{path}S3DataDistributionType", distribution, ("FullyReplicated",))
    unless_offered(operation, definition.application, APPLICATION_OFFERED, "AppSpecification.")
    count = definition.cluster["InstanceCount"]
    unless_value(operation, "ClusterConfig.InstanceCount", count, (1,))
    for local, what in ((source["LocalPath"], path), (definition.output["LocalPath"], "S3Output.")):
        if not local.startswith(PROCESSING) or posixpath.normpath(local) != local.rstrip("/"):
            raise ValidationException(f"{operation}: {what}LocalPath={local!r} must be a path below {PROCESSING}")
    if definition.batch_input is not None and len(definition.batch_input["DatasetFormat"]) != 1:
        raise ValidationException(f"{operation}: {path}DatasetFormat must be one of Csv, Json and Parquet")

"""What CreateTrainingJob refuses beyond SageMaker's own model: what contradicts itself, and what is not offered here.

What this file does not do: lengths, patterns and enumerations are held against the service model (`protocol.py`).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from typing import Any

from millrace.runtime import warm_pools
from millrace.runtime.errors import ValidationException
from millrace.runtime.refuse import unless_offered, unless_value

OFFERED = (
    "TrainingJobName", "HyperParameters", "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig",
    "ResourceConfig", "StoppingCondition", "Tags", "EnableNetworkIsolation", "Environment", "VpcConfig",
    "EnableInterContainerTrafficEncryption", "ExperimentConfig", "EnableManagedSpotTraining", "CheckpointConfig",
    "RetryStrategy", "DebugHookConfig", "TensorBoardOutputConfig", "ProfilerConfig",
)  # fmt: skip
DAY = 86_400
"""MaxRuntimeInSeconds when the request has none."""
BASE = "/opt/ml/"
TAKEN = {"", "input", "code", "packages", "model"}
"""Folders below /opt/ml that are something else already."""


def input_mode(channel: dict[str, Any], default: str) -> str:
    """A channel's own mode, or that of the algorithm."""
    return str(channel.get("InputMode") or default)


def check(request: dict[str, Any]) -> None:
    """Refuse a request that AWS would refuse, or that this runtime does not offer.

    Raises:
        ValidationException: the member, its value and what would be right.
    """
    operation = "CreateTrainingJob"
    unless_offered(operation, request, OFFERED)
    algorithm = request.get("AlgorithmSpecification") or {}
    if not algorithm.get("TrainingImage"):
        raise ValidationException(
            f"{operation}: AlgorithmSpecification.TrainingImage is needed (AlgorithmName is not offered here)"
        )
    unless_offered(
        operation, algorithm,
        ("TrainingImage", "TrainingInputMode", "ContainerEntrypoint", "ContainerArguments", "MetricDefinitions",
         "EnableSageMakerMetricsTimeSeries"),
        "AlgorithmSpecification.",
    )  # fmt: skip
    for definition in algorithm.get("MetricDefinitions") or []:
        _check_expression(operation, definition)
    _check_resources(operation, request.get("ResourceConfig") or {})
    _check_warm_pool(operation, request)
    _check_stopping(operation, request)
    _check_checkpoints(operation, request)
    unless_offered(operation, request["OutputDataConfig"], ("S3OutputPath", "KmsKeyId", "CompressionType"),
                   "OutputDataConfig.")  # fmt: skip
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig") or []]
    if len(set(names)) != len(names):
        raise ValidationException(f"{operation}: channel names must differ, and they are {names}")
    groups = [group["InstanceGroupName"] for group in request["ResourceConfig"].get("InstanceGroups") or []]
    for channel in request.get("InputDataConfig") or []:
        _check_channel(operation, channel, algorithm["TrainingInputMode"], groups)


def _check_expression(operation: str, definition: dict[str, Any]) -> None:
    try:
        re.compile(definition["Regex"])
    except re.error as error:
        raise ValidationException(
            f"{operation}: the Regex {definition['Regex']!r} of metric {definition['Name']!r} is invalid: {error}"
        ) from error


def _check_resources(operation: str, resources: dict[str, Any]) -> None:
    unless_offered(operation, resources,
                   ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId", "InstanceGroups",
                    "KeepAlivePeriodInSeconds"),
                   "ResourceConfig.")  # fmt: skip
    groups = resources.get("InstanceGroups") or []
    if groups and (resources.get("InstanceType") or resources.get("InstanceCount")):
        raise ValidationException(
            f"{operation}: ResourceConfig takes either InstanceType and InstanceCount or InstanceGroups, not both"
        )
    if not groups and not (resources.get("InstanceType") and resources.get("InstanceCount")):
        raise ValidationException(
            f"{operation}: ResourceConfig needs InstanceType and InstanceCount, or InstanceGroups"
        )
    names = [group["InstanceGroupName"] for group in groups]
    if len(set(names)) != len(names):
        raise ValidationException(f"{operation}: the names of InstanceGroups must differ, and they are {names}")


def _check_warm_pool(operation: str, request: dict[str, Any]) -> None:
    if not warm_pools.keep_alive_seconds(request):
        return
    for what, is_there in (
        ("managed spot training", request.get("EnableManagedSpotTraining")),
        ("a heterogeneous cluster", request["ResourceConfig"].get("InstanceGroups")),
    ):
        if is_there:
            raise ValidationException(f"{operation}: KeepAlivePeriodInSeconds (a warm pool) cannot be used with {what}")


def _check_stopping(operation: str, request: dict[str, Any]) -> None:
    stopping = request.get("StoppingCondition")
    if not stopping:
        raise ValidationException(f"{operation}: StoppingCondition is needed: set MaxRuntimeInSeconds")
    unless_offered(operation, stopping, ("MaxRuntimeInSeconds", "MaxWaitTimeInSeconds"), "StoppingCondition.")
    wait, run = stopping.get("MaxWaitTimeInSeconds"), stopping.get("MaxRuntimeInSeconds", DAY)
    is_spot = bool(request.get("EnableManagedSpotTraining"))
    if is_spot and not wait:
        raise ValidationException(
            f"{operation}: Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds when EnableManagedSpotTraining is true"
        )
    if wait and not is_spot:
        raise ValidationException(
            f"{operation}: MaxWaitTimeInSeconds is {wait}, and EnableManagedSpotTraining is not set; it is for managed "
            "spot training only"
        )
    if wait and wait < run:
        raise ValidationException(
            f"{operation}: Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            f"MaxRuntimeInSeconds; they are {wait} and {run}"
        )


def _check_checkpoints(operation: str, request: dict[str, Any]) -> None:
    for member in ("CheckpointConfig", "TensorBoardOutputConfig", "DebugHookConfig"):
        local = (request.get(member) or {}).get("LocalPath")
        is_below = local and local.startswith(BASE) and posixpath.normpath(local) == local.rstrip("/")
        if local and (not is_below or local.removeprefix(BASE).split("/")[0] in TAKEN):
            raise ValidationException(
                f"{operation}: {member}.LocalPath={local!r} is not offered by the Millrace runtime: it must be a path "
                f"below /opt/ml, the only folder that outlives a job's process here, and not one of {sorted(TAKEN - {''})}"
            )


def _check_channel(operation: str, channel: dict[str, Any], default: str, groups: Sequence[str]) -> None:
    path = f"InputDataConfig[{channel['ChannelName']}]."
    if channel["ChannelName"] in (".", ".."):
        raise ValidationException(f"{operation}: a channel cannot be called {channel['ChannelName']!r}: it is a folder")
    unless_offered(operation, channel,
                   ("ChannelName", "DataSource", "ContentType", "CompressionType", "RecordWrapperType",
                    "InputMode", "ShuffleConfig"), path)  # fmt: skip
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise ValidationException(f"{operation}: {path}DataSource needs an S3DataSource on this machine")
    unless_offered(operation, source,
                   ("S3DataType", "S3Uri", "S3DataDistributionType", "AttributeNames", "InstanceGroupNames"),
                   f"{path}S3DataSource.")  # fmt: skip
    unless_value(operation, f"{path}S3DataType", source["S3DataType"],
                 ("S3Prefix", "ManifestFile", "AugmentedManifestFile"))  # fmt: skip
    mode = input_mode(channel, default)
    if mode != "Pipe":
        for member in ("CompressionType", "RecordWrapperType"):
            if channel.get(member) not in (None, "None"):
                raise ValidationException(
                    f"{operation}: {path}{member}={channel[member]!r} is for Pipe input mode only, and this channel's "
                    f"is {mode}"
                )
        if source["S3DataType"] == "AugmentedManifestFile":
            raise ValidationException(
                f"{operation}: {path}S3DataType AugmentedManifestFile is for Pipe input mode only, and this channel's "
                f"is {mode}"
            )
    if (source["S3DataType"] == "AugmentedManifestFile") != bool(source.get("AttributeNames")):
        raise ValidationException(
            f"{operation}: {path}AttributeNames goes with S3DataType AugmentedManifestFile, and only with it"
        )
    strangers = sorted(set(source.get("InstanceGroupNames") or ()) - set(groups))
    if strangers:
        raise ValidationException(
            f"{operation}: {path}InstanceGroupNames names {strangers[0]!r}, and the cluster's groups are {list(groups)}"
        )

"""Typed requests: what an operator was told, as a frozen value, and the API call that it becomes.

Values may still be templates (on parse); `preflight.check` passes those over. Nothing here has a default that costs
money: instance types and counts are always given.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PROCESSING_BASE = "/opt/ml/processing"
CODE_INPUT = "code"
VOLUME_GB = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The instances of a job."""

    instance_type: str
    instance_count: int = 1
    volume_size_gb: int = VOLUME_GB

    def to_api(self) -> dict[str, Any]:
        return {
            "InstanceType": self.instance_type,
            "InstanceCount": self.instance_count,
            "VolumeSizeInGB": self.volume_size_gb,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingRequest:
    """A module of the source archive, run in a processing job.

    Inputs and outputs lie in `input/<name>` and `output/<name>` of its working directory.
    """

    job_name: str
    role_arn: str
    image: str
    module: str
    code_uri: str
    cluster: Cluster
    arguments: Sequence[str] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    sharded: Collection[str] = ()
    """Inputs of which each instance gets other objects; of the others each gets all."""
    environment: Mapping[str, str] = field(default_factory=dict)
    network_isolation: bool = False
    max_runtime_seconds: int = 3600

    def to_api(self) -> dict[str, Any]:
        """The request of CreateProcessingJob, without tags."""
        application: dict[str, Any] = {"ImageUri": self.image, "ContainerEntrypoint": entrypoint(self.module)}
        if self.arguments:
            application["ContainerArguments"] = list(self.arguments)
        request: dict[str, Any] = {
            "ProcessingJobName": self.job_name,
            "RoleArn": self.role_arn,
            "AppSpecification": application,
            "ProcessingInputs": [
                _processing_input(name, uri, is_sharded=name in self.sharded)
                for name, uri in ({CODE_INPUT: self.code_uri} | dict(self.inputs)).items()
            ],
            "ProcessingResources": {"ClusterConfig": self.cluster.to_api()},
            "StoppingCondition": {"MaxRuntimeInSeconds": self.max_runtime_seconds},
        }
        if self.outputs:
            outputs = [_processing_output(name, uri) for name, uri in self.outputs.items()]
            request["ProcessingOutputConfig"] = {"Outputs": outputs}
        if self.environment:
            request["Environment"] = dict(self.environment)
        if self.network_isolation:
            request["NetworkConfig"] = {"EnableNetworkIsolation": True}
        return request


def entrypoint(module: str) -> list[str]:
    """A command that unpacks the source archive and runs a module of it, in any image with sh, tar and python3.

    The paths are relative to SAGEMAKER_BASE_DIR where one is set: a job without a sandbox has no /opt/ml.
    """
    script = (
        'cd "${SAGEMAKER_BASE_DIR:-/opt/ml}/processing" && mkdir -p src && '
        'tar -xzf input/code/*.tar.gz -C src && PYTHONPATH="$PWD/src" exec python3 -m "$0" "$@"'
    )
    return ["/bin/sh", "-c", script, module]


def _processing_input(name: str, uri: str, *, is_sharded: bool) -> dict[str, Any]:
    source = {
        "S3Uri": uri,
        "LocalPath": f"{PROCESSING_BASE}/input/{name}",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
    }
    if is_sharded:
        source["S3DataDistributionType"] = "ShardedByS3Key"
    return {"InputName": name, "S3Input": source}


def _processing_output(name: str, uri: str) -> dict[str, Any]:
    target = {"S3Uri": uri, "LocalPath": f"{PROCESSING_BASE}/output/{name}", "S3UploadMode": "EndOfJob"}
    return {"OutputName": name, "S3Output": target}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """A script of the source archive, run in script mode, under torchrun when `distributed`."""

    job_name: str
    role_arn: str
    image: str
    program: str
    code_uri: str
    output_uri: str
    cluster: Cluster
    channels: Mapping[str, str]
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    distributed: bool = False
    network_isolation: bool = False
    max_runtime_seconds: int = 86_400

    def to_api(self) -> dict[str, Any]:
        """The request of CreateTrainingJob, without tags."""
        channels, code = dict(self.channels), self.code_uri
        if self.network_isolation:  # an isolated job cannot fetch its code, so the code comes as a channel
            channels[CODE_INPUT] = self.code_uri
            code = f"/opt/ml/input/data/{CODE_INPUT}/{self.code_uri.rpartition('/')[2]}"
        script_mode: dict[str, Any] = {
            "sagemaker_program": self.program,
            "sagemaker_submit_directory": code,
            "sagemaker_job_name": self.job_name,
        }
        if self.distributed:
            script_mode["sagemaker_torch_distributed_enabled"] = True
        hyperparameters = {**self.hyperparameters, **script_mode}
        request: dict[str, Any] = {
            "TrainingJobName": self.job_name,
            "RoleArn": self.role_arn,
            "AlgorithmSpecification": {"TrainingImage": self.image, "TrainingInputMode": "File"},
            "HyperParameters": {str(name): json.dumps(value) for name, value in hyperparameters.items()},
            "InputDataConfig": [_channel(name, uri) for name, uri in channels.items()],
            "OutputDataConfig": {"S3OutputPath": self.output_uri},
            "ResourceConfig": self.cluster.to_api(),
            "StoppingCondition": {"MaxRuntimeInSeconds": self.max_runtime_seconds},
            "EnableNetworkIsolation": self.network_isolation,
        }
        if self.environment:
            request["Environment"] = dict(self.environment)
        return request


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformRequest:
    """A model over every line of the objects under a prefix, each prediction joined to its input."""

    job_name: str
    model_name: str
    input_uri: str
    output_uri: str
    cluster: Cluster
    content_type: str = "text/csv"
    max_payload_mb: int = 6
    max_concurrent: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    def to_api(self) -> dict[str, Any]:
        """The request of CreateTransformJob, without tags."""
        source = {"S3DataType": "S3Prefix", "S3Uri": self.input_uri}
        return {
            **({"Environment": dict(self.environment)} if self.environment else {}),
            "TransformJobName": self.job_name,
            "ModelName": self.model_name,
            "BatchStrategy": "MultiRecord",
            "MaxPayloadInMB": self.max_payload_mb,
            "MaxConcurrentTransforms": self.max_concurrent,
            "TransformInput": {
                "DataSource": {"S3DataSource": source},
                "ContentType": self.content_type,
                "SplitType": "Line",
            },
            "TransformOutput": {
                "S3OutputPath": self.output_uri,
                "Accept": self.content_type,
                "AssembleWith": "Line",
            },
            "TransformResources": {
                "InstanceType": self.cluster.instance_type,
                "InstanceCount": self.cluster.instance_count,
            },
            "DataProcessing": {"JoinSource": "Input"},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """A model archive with the image that serves it."""

    name: str
    role_arn: str
    image: str
    model_data_uri: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def to_api(self) -> dict[str, Any]:
        """The request of CreateModel, without tags."""
        container: dict[str, Any] = {"Image": self.image, "ModelDataUrl": self.model_data_uri, "Mode": "SingleModel"}
        if self.environment:
            container["Environment"] = dict(self.environment)
        return {"ModelName": self.name, "PrimaryContainer": container, "ExecutionRoleArn": self.role_arn}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfigRequest:
    """One variant that takes all traffic."""

    name: str
    model_name: str
    instance_type: str
    instance_count: int = 1
    variant: str = "primary"

    def to_api(self) -> dict[str, Any]:
        """The request of CreateEndpointConfig, without tags."""
        variant = {
            "VariantName": self.variant,
            "ModelName": self.model_name,
            "InitialInstanceCount": self.instance_count,
            "InstanceType": self.instance_type,
            "InitialVariantWeight": 1.0,
        }
        return {"EndpointConfigName": self.name, "ProductionVariants": [variant]}

"""Training jobs: script mode or an own entrypoint, File channels, one or more instances, model.tar.gz."""

from __future__ import annotations

from typing import Any

from millrace.runtime import launchers, staging
from millrace.runtime.database import Resource
from millrace.runtime.errors import ValidationException
from millrace.runtime.jobs import (
    Command,
    Host,
    JobType,
    contained,
    fresh_folder,
    lease_of,
    merged_environment,
    resource_config,
    sharded,
    stage_read_only,
    write_json,
)
from millrace.runtime.refuse import unless_offered, unless_value

OFFERED = (
    "TrainingJobName", "HyperParameters", "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig",
    "ResourceConfig", "StoppingCondition", "Tags", "EnableNetworkIsolation", "Environment", "VpcConfig",
    "EnableInterContainerTrafficEncryption", "ExperimentConfig",
)  # fmt: skip
DAY = 86_400


class TrainingJobs(JobType):
    kind = "training-job"
    prefix = "TrainingJob"
    log_group = "/aws/sagemaker/TrainingJobs"
    grace_seconds = 120
    uploads_when_stopped = True

    def check(self, request: dict[str, Any], host: Host) -> None:
        operation = "CreateTrainingJob"
        unless_offered(operation, request, OFFERED)
        algorithm = request.get("AlgorithmSpecification") or {}
        if not algorithm.get("TrainingImage"):
            raise ValidationException(
                f"{operation}: AlgorithmSpecification.TrainingImage is needed (AlgorithmName is not offered here)"
            )
        unless_offered(
            operation, algorithm,
            ("TrainingImage", "TrainingInputMode", "ContainerEntrypoint", "ContainerArguments"),
            "AlgorithmSpecification.",
        )  # fmt: skip
        unless_value(operation, "AlgorithmSpecification.TrainingInputMode", algorithm.get("TrainingInputMode"),
                     ("File", "FastFile"))  # fmt: skip
        resources = request.get("ResourceConfig") or {}
        unless_offered(operation, resources,
                       ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId"),
                       "ResourceConfig.")  # fmt: skip
        if not resources.get("InstanceType") or not resources.get("InstanceCount"):
            raise ValidationException(f"{operation}: ResourceConfig needs InstanceType and InstanceCount")
        if not request.get("StoppingCondition"):
            raise ValidationException(f"{operation}: StoppingCondition is needed: set MaxRuntimeInSeconds")
        unless_offered(operation, request["OutputDataConfig"], ("S3OutputPath", "KmsKeyId", "CompressionType"),
                       "OutputDataConfig.")  # fmt: skip
        names = [channel["ChannelName"] for channel in request.get("InputDataConfig") or []]
        if len(set(names)) != len(names):
            raise ValidationException(f"{operation}: channel names must differ, and they are {names}")
        for channel in request.get("InputDataConfig") or []:
            self._check_channel(operation, channel)

    @staticmethod
    def _check_channel(operation: str, channel: dict[str, Any]) -> None:
        path = f"InputDataConfig[{channel['ChannelName']}]."
        unless_offered(operation, channel,
                       ("ChannelName", "DataSource", "ContentType", "CompressionType", "RecordWrapperType",
                        "InputMode"), path)  # fmt: skip
        unless_value(operation, f"{path}InputMode", channel.get("InputMode"), ("File", "FastFile"))
        unless_value(operation, f"{path}CompressionType", channel.get("CompressionType"), ("None",))
        unless_value(operation, f"{path}RecordWrapperType", channel.get("RecordWrapperType"), ("None",))
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            raise ValidationException(f"{operation}: {path}DataSource needs an S3DataSource on this machine")
        unless_value(operation, f"{path}S3DataType", source["S3DataType"], ("S3Prefix",))

    def instance_count(self, request: dict[str, Any]) -> int:
        return int(request["ResourceConfig"]["InstanceCount"])

    def max_seconds(self, request: dict[str, Any]) -> int | None:
        return int(request["StoppingCondition"].get("MaxRuntimeInSeconds", DAY))

    def stage(self, job: Resource, host: Host) -> None:
        request = job.document["request"]
        channels = request.get("InputDataConfig") or []
        found = {
            channel["ChannelName"]: staging.find(
                host.objects, channel["DataSource"]["S3DataSource"]["S3Uri"], f"channel {channel['ChannelName']!r}"
            )
            for channel in channels
        }
        count = job.document["instances"]
        for index in range(count):
            folder = fresh_folder(host.instance_folder(job, index))
            ml = folder / "ml"
            for path in ("input/data", "model", "output/data", "checkpoints", "code"):
                (ml / path).mkdir(parents=True)
            config = ml / "input/config"
            write_json(config / "hyperparameters.json", request.get("HyperParameters") or {})
            write_json(
                config / "resourceconfig.json", resource_config(job, index, request["ResourceConfig"]["InstanceType"])
            )
            write_json(config / "inputdataconfig.json", {c["ChannelName"]: _channel_config(c) for c in channels})
            box = self._box(job, index, host)
            for channel in channels:
                name = channel["ChannelName"]
                distribution = channel["DataSource"]["S3DataSource"].get("S3DataDistributionType")
                stage_read_only(host, job, index, name, sharded(found[name], distribution, index, count), box)
                (ml / "input/data" / name).mkdir()
            if not box.sandboxed:
                box.link_read_only()

    def _box(self, job: Resource, index: int, host: Host) -> Any:
        request = job.document["request"]
        inputs = host.instance_folder(job, index) / "inputs"
        return host.box(
            job,
            index,
            isolate_network=bool(request.get("EnableNetworkIsolation")),
            read_only={
                f"input/data/{c['ChannelName']}": inputs / c["ChannelName"]
                for c in request.get("InputDataConfig") or []
            },
        )

    def command(self, job: Resource, index: int, host: Host) -> Command:
        request = job.document["request"]
        algorithm = request["AlgorithmSpecification"]
        box = self._box(job, index, host)
        argv, _ = launchers.command(
            algorithm["TrainingImage"], "train", box.built_in,
            algorithm.get("ContainerEntrypoint") or (), algorithm.get("ContainerArguments") or (),
        )  # fmt: skip
        own = {
            "TRAINING_JOB_NAME": job.name,
            "TRAINING_JOB_ARN": job.arn,
            "MASTER_PORT": str(lease_of(job).port),
            **(request.get("Environment") or {}),
        }
        return Command(argv, merged_environment(host, job, box, own), box)

    def harvest(self, job: Resource, host: Host) -> dict[str, Any]:
        output = job.document["request"]["OutputDataConfig"]
        base = f"{output['S3OutputPath'].rstrip('/')}/{job.name}/output"
        trees = [host.instance_folder(job, index) / "ml" for index in range(job.document["instances"])]
        changes: dict[str, Any] = {}
        for relative, name in (("model", "model"), ("output/data", "output")):
            folders = [found for tree in trees if (found := contained(tree, relative))]
            if output.get("CompressionType") == "NONE":
                written = sum(staging.upload_folder(host.objects, folder, f"{base}/{name}/") for folder in folders)
                uri = f"{base}/{name}/"
            else:
                scratch = host.folder(job) / f"{name}.tar.gz"
                uri = f"{base}/{name}.tar.gz"
                written = staging.upload_archive(host.objects, folders, uri, scratch)
            if name == "model" and written:
                changes["model_artifact"] = uri
        return changes

    def describe(self, job: Resource) -> dict[str, Any]:
        document = job.document
        seconds = (
            int(document["ended"] - document["started"]) if document.get("started") and document.get("ended") else None
        )
        transitions = [dict(transition) for transition in document["transitions"]]
        return {
            **{k: v for k, v in document["request"].items() if k != "Tags"},
            "ModelArtifacts": {"S3ModelArtifacts": document["model_artifact"]}
            if "model_artifact" in document
            else None,
            "SecondaryStatus": transitions[-1]["Status"],
            "SecondaryStatusTransitions": transitions,
            "TrainingStartTime": document.get("started"),
            "TrainingEndTime": document.get("ended"),
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": seconds,
        }


def _channel_config(channel: dict[str, Any]) -> dict[str, Any]:
    """A channel's entry in inputdataconfig.json; FastFile is written as File."""
    config = {
        "TrainingInputMode": "File",
        "S3DistributionType": channel["DataSource"]["S3DataSource"].get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    if channel.get("ContentType"):
        config["ContentType"] = channel["ContentType"]
    return config

"""Processing jobs: an entrypoint over S3 inputs, whose output folders are uploaded when it has ended well."""

from __future__ import annotations

import posixpath
from typing import Any

from millrace.runtime import cloudwatch_files, launchers, staging
from millrace.runtime.database import Resource
from millrace.runtime.errors import ValidationException
from millrace.runtime.folder_sync import FolderSync
from millrace.runtime.jobs import (
    Command,
    Group,
    Host,
    JobType,
    contained,
    fresh_folder,
    merged_environment,
    read_message,
    resource_config,
    s3_source,
    write_json,
)
from millrace.runtime.refuse import unless_offered, unless_value

OFFERED = (
    "ProcessingJobName", "ProcessingInputs", "ProcessingOutputConfig", "ProcessingResources", "StoppingCondition",
    "AppSpecification", "Environment", "NetworkConfig", "RoleArn", "Tags", "ExperimentConfig",
)  # fmt: skip
BASE = "/opt/ml/"
PROCESSING = "/opt/ml/processing/"
DAY = 86_400
HOMOGENEOUS = "homogeneousCluster"


class ProcessingJobs(JobType):
    kind = "processing-job"
    prefix = "ProcessingJob"
    log_group = "/aws/sagemaker/ProcessingJobs"
    grace_seconds = 120

    def check(self, request: dict[str, Any], host: Host) -> None:
        operation = "CreateProcessingJob"
        unless_offered(operation, request, OFFERED)
        names: list[str] = []
        for item in request.get("ProcessingInputs") or []:
            path = f"ProcessingInputs[{item['InputName']}]."
            names.append(item["InputName"])
            unless_offered(operation, item, ("InputName", "S3Input"), path)
            source = item.get("S3Input")
            if source is None:
                raise ValidationException(f"{operation}: {path}S3Input is needed")
            unless_value(operation, f"{path}S3DataType", source["S3DataType"], ("S3Prefix", "ManifestFile"))
            unless_value(operation, f"{path}S3InputMode", source.get("S3InputMode"), ("File",))
            unless_value(operation, f"{path}S3CompressionType", source.get("S3CompressionType"), ("None",))
            _inside(operation, f"{path}LocalPath", source.get("LocalPath"))
        for item in (request.get("ProcessingOutputConfig") or {}).get("Outputs", []):
            path = f"Outputs[{item['OutputName']}]."
            names.append(item["OutputName"])
            unless_offered(operation, item, ("OutputName", "S3Output"), path)
            target = item.get("S3Output")
            if target is None:
                raise ValidationException(f"{operation}: {path}S3Output is needed")
            unless_value(operation, f"{path}S3UploadMode", target["S3UploadMode"], ("EndOfJob", "Continuous"))
            _inside(operation, f"{path}LocalPath", target.get("LocalPath"))
        if len(set(names)) != len(names):
            raise ValidationException(f"{operation}: input and output names must differ, and they are {names}")

    def instance_types(self, request: dict[str, Any]) -> list[str]:
        cluster = request["ProcessingResources"]["ClusterConfig"]
        return [cluster["InstanceType"]] * int(cluster["InstanceCount"])

    def max_seconds(self, request: dict[str, Any]) -> int | None:
        return int((request.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", DAY))

    def stage(self, job: Resource, host: Host) -> None:
        request = job.document["request"]
        inputs = [
            (item["S3Input"], s3_source(item["S3Input"], f"input {item['InputName']!r}"))
            for item in request.get("ProcessingInputs") or []
        ]
        found = [(settings["LocalPath"], source, source.find(host.objects)) for settings, source in inputs]
        count = job.document["instances"]
        group = Group(HOMOGENEOUS, request["ProcessingResources"]["ClusterConfig"]["InstanceType"], count)
        for index in range(count):
            ml = fresh_folder(host.instance_folder(job, index)) / "ml"
            (ml / "output").mkdir(parents=True)
            (ml / "processing").mkdir()
            write_json(ml / "config/processingjobconfig.json", {"ProcessingJobArn": job.arn, **request})
            write_json(ml / "config/resourceconfig.json", resource_config(job, index, [group]))
            for local, source, objects in found:
                share = source.share(objects, index, count)
                staging.materialise(host.objects, share, ml / local.removeprefix(BASE), link=False)
            for item in (request.get("ProcessingOutputConfig") or {}).get("Outputs", []):
                (ml / item["S3Output"]["LocalPath"].removeprefix(BASE)).mkdir(parents=True, exist_ok=True)

    def command(self, job: Resource, index: int, host: Host) -> Command:
        request = job.document["request"]
        application = request["AppSpecification"]
        isolate = bool((request.get("NetworkConfig") or {}).get("EnableNetworkIsolation"))
        box = host.box(job, index, isolate_network=isolate)
        argv, launcher, box = launchers.launch(
            host.config.data_dir, application["ImageUri"], "process", box,
            application.get("ContainerEntrypoint") or (), application.get("ContainerArguments") or (),
        )  # fmt: skip
        own = {"PROCESSING_JOB_NAME": job.name, "PROCESSING_JOB_ARN": job.arn, **(request.get("Environment") or {})}
        return Command(argv, merged_environment(host, job, box, own), box, launcher)

    def syncs(self, job: Resource, host: Host) -> list[FolderSync]:
        return [
            FolderSync(
                host.objects,
                host.instance_folder(job, index) / "ml",
                target["LocalPath"].removeprefix(BASE),
                target["S3Uri"],
            )
            for index in range(job.document["instances"])
            for target in _targets(job, "Continuous")
        ]

    def harvest(self, job: Resource, host: Host) -> dict[str, Any]:
        trees = [host.instance_folder(job, index) / "ml" for index in range(job.document["instances"])]
        for target in _targets(job, "EndOfJob"):
            for tree in trees:
                folder = contained(tree, target["LocalPath"].removeprefix(BASE))
                if folder is not None and folder.is_dir():
                    staging.upload_folder(host.objects, folder, target["S3Uri"])
        if cloudwatch_files.are_wanted(job.document["request"]):
            for instance in host.instances(job):
                odd = cloudwatch_files.keep(instance.folder / "ml", instance.folder / cloudwatch_files.KEPT)
                if odd:
                    instance.say(f"[millrace] {odd} lines below /opt/ml/{cloudwatch_files.FOLDER} are no metrics")
        return {}

    def failure_reason(self, job: Resource, host: Host, ended: list[Any]) -> str:
        reason = super().failure_reason(job, host, ended)
        message = self.exit_message(job, host)
        return f"{reason}: {message}"[:1024] if message and message not in reason else reason

    def exit_message(self, job: Resource, host: Host) -> str:
        """What the instances left in /opt/ml/output/message, hosts concatenated."""
        parts = [
            read_message(host.instance_folder(job, index) / "ml", "output/message")
            for index in range(job.document["instances"])
        ]
        return "\n".join(filter(None, parts))[:1024]

    def describe(self, job: Resource) -> dict[str, Any]:
        return {
            **{k: v for k, v in job.document["request"].items() if k != "Tags"},
            "ExitMessage": job.document.get("exit_message"),
            "ProcessingStartTime": job.document.get("started"),
            "ProcessingEndTime": job.document.get("ended"),
        }


def _targets(job: Resource, mode: str) -> list[dict[str, Any]]:
    """The S3 outputs of a job that are uploaded in one of the two modes."""
    outputs = (job.document["request"].get("ProcessingOutputConfig") or {}).get("Outputs", [])
    return [item["S3Output"] for item in outputs if item["S3Output"]["S3UploadMode"] == mode]


def _inside(operation: str, path: str, value: str | None) -> None:
    if not value or not value.startswith(PROCESSING) or posixpath.normpath(value) != value.rstrip("/"):
        raise ValidationException(f"{operation}: {path}={value!r} must be a path below /opt/ml/processing/")

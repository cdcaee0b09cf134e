"""Batch transform jobs: a stored model served inside the job's own instance, fed with the objects under a prefix."""

from __future__ import annotations

import sys
from typing import Any

from millrace.runtime import hosting, staging
from millrace.runtime.database import Resource
from millrace.runtime.errors import JobFailed, ValidationException
from millrace.runtime.jobs import (
    Command,
    Host,
    JobType,
    contained,
    fresh_folder,
    lease_of,
    merged_environment,
    write_json,
)
from millrace.runtime.refuse import unless_offered, unless_value

OFFERED = (
    "TransformJobName", "ModelName", "MaxConcurrentTransforms", "ModelClientConfig", "MaxPayloadInMB", "BatchStrategy",
    "Environment", "TransformInput", "TransformOutput", "TransformResources", "DataProcessing", "Tags",
    "ExperimentConfig",
)  # fmt: skip
JOINABLE = ("text/csv", "application/json", "application/jsonlines")
DEFAULT_PAYLOAD_MB = 6


class TransformJobs(JobType):
    kind = "transform-job"
    prefix = "TransformJob"
    log_group = "/aws/sagemaker/TransformJobs"
    grace_seconds = 30
    uploads_when_failed = True  # an object with a bad record fails the job, and the others keep their output

    def check(self, request: dict[str, Any], host: Host) -> None:
        operation = "CreateTransformJob"
        unless_offered(operation, request, OFFERED)
        source = request["TransformInput"]
        unless_value(operation, "TransformInput.SplitType", source.get("SplitType"), ("None", "Line"))
        unless_value(operation, "TransformInput.CompressionType", source.get("CompressionType"), ("None",))
        unless_value(operation, "S3DataType", source["DataSource"]["S3DataSource"]["S3DataType"], ("S3Prefix",))
        split = source.get("SplitType", "None")
        if request.get("BatchStrategy") == "MultiRecord" and split == "None":
            raise ValidationException(f"{operation}: BatchStrategy=MultiRecord needs a SplitType, which is None")
        processing = request.get("DataProcessing") or {}
        filters = {processing.get("InputFilter", "$"), processing.get("OutputFilter", "$")} - {"$"}
        if processing.get("JoinSource", "None") == "Input" or filters:
            accept = request["TransformOutput"].get("Accept") or source.get("ContentType")
            for name, value in (("ContentType", source.get("ContentType")), ("Accept", accept)):
                if value not in JOINABLE:
                    raise ValidationException(f"{operation}: DataProcessing needs {name} in {JOINABLE}, not {value!r}")
        payload = request.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB)
        if payload * request.get("MaxConcurrentTransforms", 1) > 100:
            raise ValidationException(
                f"{operation}: MaxPayloadInMB ({payload}) times MaxConcurrentTransforms "
                f"({request['MaxConcurrentTransforms']}) is over 100 MB"
            )
        if host.database.get("model", request["ModelName"]) is None:
            raise ValidationException(f'Could not find model "{request["ModelName"]}".')

    def instance_types(self, request: dict[str, Any]) -> list[str]:
        resources = request["TransformResources"]
        return [resources["InstanceType"]] * int(resources["InstanceCount"])

    def max_seconds(self, request: dict[str, Any]) -> int | None:
        return None

    def _container(self, job: Resource, host: Host) -> dict[str, Any]:
        model = host.database.get("model", job.document["request"]["ModelName"])
        if model is None:
            raise JobFailed(f"ClientError: the model {job.document['request']['ModelName']!r} was deleted")
        return dict(model.document["request"]["PrimaryContainer"])

    def stage(self, job: Resource, host: Host) -> None:
        request = job.document["request"]
        found = staging.find(
            host.objects, request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"], "TransformInput"
        )
        container = self._container(job, host)
        count = job.document["instances"]
        for index in range(count):
            ml = fresh_folder(host.instance_folder(job, index)) / "ml"
            hosting.stage_model(container, ml, host.objects)
            (ml / "transform/output").mkdir(parents=True)
            # Transform shards by key on its own: every object is transformed once, whatever the instance count.
            staging.materialise(host.objects, found[index::count], ml / "transform/input", link=False)
            write_json(ml / "transform/job.json", self._driver_config(job, index, host, container))

    def _driver_config(self, job: Resource, index: int, host: Host, container: dict[str, Any]) -> dict[str, Any]:
        request = job.document["request"]
        source, output = request["TransformInput"], request["TransformOutput"]
        client = request.get("ModelClientConfig") or {}
        lease = lease_of(job)
        argv = hosting.server(host.config.data_dir, container, host.box(job, index), "", 0).argv
        split = source.get("SplitType", "None")
        return {
            "serve": argv,
            "host": list(lease.hosts.values())[index],
            "port": lease.port,
            "split": split,
            "strategy": request.get("BatchStrategy", "SingleRecord" if split == "None" else "MultiRecord"),
            "assemble": output.get("AssembleWith", "None"),
            "content_type": source.get("ContentType", "application/octet-stream"),
            "accept": output.get("Accept", ""),
            "payload_bytes": request.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB) * 1024 * 1024,
            "concurrency": request.get("MaxConcurrentTransforms", 1),
            "timeout_seconds": client.get("InvocationsTimeoutInSeconds", 600),
            "retries": client.get("InvocationsMaxRetries", 3),
            "processing": request.get("DataProcessing") or {},
        }

    def command(self, job: Resource, index: int, host: Host) -> Command:
        request = job.document["request"]
        lease = lease_of(job)
        server = hosting.server(
            host.config.data_dir, self._container(job, host), host.box(job, index), list(lease.hosts.values())[index],
            lease.port,
        )  # fmt: skip
        box = server.box
        own = {**server.env, "SAGEMAKER_BATCH": "true", **(request.get("Environment") or {})}
        if "MaxPayloadInMB" in request:
            own["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(request["MaxPayloadInMB"])
        if "BatchStrategy" in request:
            own["SAGEMAKER_BATCH_STRATEGY"] = {"SingleRecord": "SINGLE_RECORD", "MultiRecord": "MULTI_RECORD"}[
                request["BatchStrategy"]
            ]
        if "MaxConcurrentTransforms" in request:
            own["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(request["MaxConcurrentTransforms"])
        argv = [sys.executable, "-P", f"{box.built_in}/runtime/inside/transform_driver.py"]
        return Command(argv, merged_environment(host, job, box, own), box, server.launcher)

    def harvest(self, job: Resource, host: Host) -> dict[str, Any]:
        for index in range(job.document["instances"]):
            folder = contained(host.instance_folder(job, index) / "ml", "transform/output")
            if folder is not None:
                staging.upload_folder(host.objects, folder, job.document["request"]["TransformOutput"]["S3OutputPath"])
        return {}

    def describe(self, job: Resource) -> dict[str, Any]:
        return {
            **{k: v for k, v in job.document["request"].items() if k != "Tags"},
            "TransformStartTime": job.document.get("started"),
            "TransformEndTime": job.document.get("ended"),
        }

"""Small real jobs for tests: requests as a boto3 user would write them, and waiting for their end."""

from __future__ import annotations

import io
import itertools
import tarfile
import time
from collections.abc import Mapping
from typing import Any

from tests.runtime.process import IMAGE, ROLE, RuntimeProcess, until

COUNTER = itertools.count()
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}


def archive(files: Mapping[str, str]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return raw.getvalue()


class Jobs:
    """Creates jobs on a runtime under names of their own."""

    def __init__(self, runtime: RuntimeProcess) -> None:
        self.runtime = runtime
        self.sagemaker = runtime.client("sagemaker")
        self.s3 = runtime.client("s3")
        self.logs = runtime.client("logs")

    def name(self, what: str = "job") -> str:
        return f"{what}-{next(COUNTER)}-{time.time_ns() % 10**9}"

    def put(self, key: str, body: bytes) -> str:
        self.s3.put_object(Bucket="bucket", Key=key, Body=body)
        return f"s3://bucket/{key}"

    def processing(self, script: str, name: str | None = None, **changes: Any) -> str:
        name = name or self.name("processing")
        request: dict[str, Any] = {
            "ProcessingJobName": name,
            "RoleArn": ROLE,
            "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["/bin/sh", "-c", script]},
            "ProcessingResources": {"ClusterConfig": CLUSTER},
        }
        self.sagemaker.create_processing_job(**request | changes)
        return name

    def training(
        self, script: str, name: str | None = None, *, instances: int = 1, torchrun: bool = False,
        hyperparameters: Mapping[str, str] = {}, **changes: Any,
    ) -> str:  # fmt: skip
        """A training job in script mode, with one Python script as its source."""
        name = name or self.name("training")
        code = self.put(f"code/{name}.tar.gz", archive({"train.py": script}))
        parameters = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": f'"{code}"', **hyperparameters}
        if torchrun:
            parameters["sagemaker_torch_distributed_enabled"] = "true"
        request: dict[str, Any] = {
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "HyperParameters": parameters,
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
            "ResourceConfig": CLUSTER | {"InstanceCount": instances},
            "StoppingCondition": {"MaxRuntimeInSeconds": 300},
        }
        self.sagemaker.create_training_job(**request | changes)
        return name

    def model(self, handlers: str, files: Mapping[str, str] = {}, name: str | None = None) -> str:
        """A stored model whose archive holds these handlers."""
        name = name or self.name("model")
        data = archive({"code/inference.py": handlers, **files})
        container = {"Image": IMAGE, "ModelDataUrl": self.put(f"models/{name}/model.tar.gz", data)}
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        return name

    def endpoint_config(self, *models: str, capture: Mapping[str, Any] | None = None, **variant: Any) -> str:
        """
        Args:
            capture: a DataCaptureConfig.
        """
        name = self.name("config")
        variants = [
            {"VariantName": f"v{index}", "ModelName": model, "InstanceType": "ml.c5.large",
             "InitialInstanceCount": 1, "InitialVariantWeight": 1.0, **variant}
            for index, model in enumerate(models)
        ]  # fmt: skip
        settings = {"DataCaptureConfig": capture} if capture else {}
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **settings)
        return name

    def end(self, kind: str, name: str, seconds: float = 90) -> dict[str, Any]:
        """Wait for a job's end and return its description. `kind` is training, processing or transform."""
        describe = getattr(self.sagemaker, f"describe_{kind}_job")
        field = f"{kind.capitalize()}Job"

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = describe(**{f"{field}Name": name})
            return found if found[f"{field}Status"] not in ("InProgress", "Stopping") else None

        return until(ended, seconds, f"the end of {name}")

    def model_files(self, description: dict[str, Any]) -> dict[str, bytes]:
        """What is in a training job's model.tar.gz."""
        uri = description["ModelArtifacts"]["S3ModelArtifacts"]
        body = self.s3.get_object(Bucket="bucket", Key=uri.removeprefix("s3://bucket/"))["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            return {m.name: tar.extractfile(m).read() for m in tar.getmembers()}  # type: ignore[union-attr]

    def lines(self, kind: str, name: str) -> list[str]:
        """All log lines of a job."""
        group = f"/aws/sagemaker/{kind.capitalize()}Jobs"
        streams = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
        found: list[str] = []
        for stream in streams:
            page = self.logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )
            found += [event["message"] for event in page["events"]]
        return found

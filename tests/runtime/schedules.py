"""Monitoring schedules for tests: requests as a boto3 user would write them, and waiting for their executions."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import ROLE, until

ANALYZER = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
CLARIFY = "205585389593.dkr.ecr.us-east-1.amazonaws.com/sagemaker-clarify-processing:1.0"
HOURLY = "cron(0 * ? * * *)"
INPUT, OUTPUT = "/opt/ml/processing/input/data", "/opt/ml/processing/output"


def table(shift: float = 0.0, rows: int = 200, seed: int = 0) -> bytes:
    """CSV with a header line: a size around `shift`, and a word."""
    draw = random.Random(seed)
    lines = [f"{draw.gauss(shift, 1):.4f},{draw.choice(['x', 'y'])}" for _ in range(rows)]
    return "\n".join(["size,word", *lines]).encode() + b"\n"


def batch(uri: str) -> dict[str, Any]:
    source = {"DataCapturedDestinationS3Uri": uri, "DatasetFormat": {"Csv": {"Header": True}}, "LocalPath": INPUT}
    return {"BatchTransformInput": source}


def definition(name: str, source: dict[str, Any], output: str, baseline: dict[str, Any]) -> dict[str, Any]:
    """A request of CreateDataQualityJobDefinition."""
    outputs = [{"S3Output": {"S3Uri": output, "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"}}]
    return {
        "JobDefinitionName": name,
        "DataQualityBaselineConfig": baseline,
        "DataQualityAppSpecification": {"ImageUri": ANALYZER},
        "DataQualityJobInput": source,
        "DataQualityJobOutputConfig": {"MonitoringOutputs": outputs},
        "JobResources": {"ClusterConfig": CLUSTER},
        "RoleArn": ROLE,
    }


SNAKE = {"ModelQuality": "model_quality", "ModelBias": "model_bias", "ModelExplainability": "model_explainability"}


def request_of(
    kind: str, name: str, source: dict[str, Any], output: str, baseline: dict[str, Any], application: dict[str, Any]
) -> dict[str, Any]:
    """A request of Create…JobDefinition of another kind.

    Args:
        source: with the ground truth, where the kind takes it.
        application: beside the image.
    """
    asked = definition(name, source, output, baseline)
    request = {key.replace("DataQuality", kind): value for key, value in asked.items()}
    return request | {f"{kind}AppSpecification": {"ImageUri": ANALYZER, **application}}


def definition_of(
    kind: str, jobs: Jobs, source: dict[str, Any], output: str, baseline: dict[str, Any], application: dict[str, Any]
) -> str:
    """Create a definition of another kind, and return its name."""
    name = jobs.name("definition")
    create = getattr(jobs.sagemaker, f"create_{SNAKE[kind]}_job_definition")
    create(**request_of(kind, name, source, output, baseline, application))
    return name


def suggest_baseline(jobs: Jobs, data: str, output: str, **variables: str) -> dict[str, Any]:
    """A plain processing job as the SageMaker SDK's DefaultModelMonitor asks for it, seen to its end."""
    name = jobs.name("baseline")
    source = {"S3Uri": data, "LocalPath": "/opt/ml/processing/input/baseline_dataset_input", "S3DataType": "S3Prefix",
              "S3InputMode": "File"}  # fmt: skip
    monitoring_output = {
        "OutputName": "monitoring_output", "S3Output": {"S3Uri": output, "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"},
    }  # fmt: skip
    jobs.sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ROLE,
        AppSpecification={"ImageUri": ANALYZER},
        ProcessingInputs=[{"InputName": "baseline_dataset_input", "S3Input": source}],
        ProcessingOutputConfig={"Outputs": [monitoring_output]},
        ProcessingResources={"ClusterConfig": CLUSTER},
        Environment={
            "dataset_format": json.dumps({"csv": {"header": True, "output_columns_position": "START"}}),
            "dataset_source": "/opt/ml/processing/input/baseline_dataset_input",
            "output_path": "/opt/ml/processing/output",
            "publish_cloudwatch_metrics": "Disabled",
            **variables,
        },
    )
    return jobs.end("processing", name)


class Schedules:
    """Creates schedules on a runtime, and waits for what they do."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.sagemaker = jobs.sagemaker

    def baseline(self, key: str) -> dict[str, Any]:
        """Write a baseline's files with the analyzer, by a plain processing job; a DataQualityBaselineConfig."""
        ended = suggest_baseline(self.jobs, self.jobs.put(f"{key}/train.csv", table()), f"s3://bucket/{key}/files")
        assert ended["ProcessingJobStatus"] == "Completed", ended.get("FailureReason")
        return {"BaseliningJobName": ended["ProcessingJobName"]}

    def define(
        self, source: dict[str, Any], output: str, baseline: dict[str, Any] | None = None, **changes: Any
    ) -> str:
        name = self.jobs.name("definition")
        self.sagemaker.create_data_quality_job_definition(**definition(name, source, output, baseline or {}) | changes)
        return name

    def create(self, definition: str, expression: str = HOURLY, *, kind: str = "DataQuality", **window: str) -> str:
        name = self.jobs.name("schedule")
        self.sagemaker.create_monitoring_schedule(
            MonitoringScheduleName=name,
            MonitoringScheduleConfig={
                "ScheduleConfig": {"ScheduleExpression": expression, **window},
                "MonitoringJobDefinitionName": definition,
                "MonitoringType": kind,
            },
        )
        return name

    def executions(self, schedule: str, **filters: Any) -> list[dict[str, Any]]:
        """Oldest first."""
        answer = self.sagemaker.list_monitoring_executions(
            MonitoringScheduleName=schedule, SortBy="ScheduledTime", SortOrder="Ascending", **filters
        )
        found: list[dict[str, Any]] = answer["MonitoringExecutionSummaries"]
        return found

    def ended(self, schedule: str, count: int = 1, seconds: float = 90) -> list[dict[str, Any]]:
        """The executions of a schedule, when so many have ended."""

        def look() -> list[dict[str, Any]] | None:
            found = self.executions(schedule)
            active = ("Pending", "InProgress", "Stopping")
            over = [row for row in found if row["MonitoringExecutionStatus"] not in active]
            return over if len(over) >= count else None

        return until(look, seconds, f"{count} executions of {schedule}")

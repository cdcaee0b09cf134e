"""Metrics that regular expressions find in a training job's log: on the job, and in CloudWatch while it runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.exceptions
import pytest

from tests.runtime.jobs import Jobs
from tests.runtime.process import IMAGE, until

SCRIPT = """
import sys, time
for epoch in range(3):
    print(f"epoch {epoch}: loss={1 / (epoch + 1):.3f}; accuracy=nan", flush=True)
    time.sleep(0.05)
time.sleep(float(sys.argv[sys.argv.index("--pause") + 1]))
print("loss=0.125;")
"""


def algorithm(*definitions: tuple[str, str]) -> dict[str, Any]:
    rows = [{"Name": name, "Regex": expression} for name, expression in definitions]
    return {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": rows}


def test_last_value_of_each_metric_is_on_the_job(jobs: Jobs) -> None:
    name = jobs.training(
        SCRIPT, hyperparameters={"pause": "0"},
        AlgorithmSpecification=algorithm(("loss", r"loss=([0-9.]+);"), ("accuracy", "accuracy=(.*)"), ("none", "f1=(.*)")),
    )  # fmt: skip
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    (loss,) = description["FinalMetricDataList"]
    assert (loss["MetricName"], loss["Value"]) == ("loss", 0.125)
    assert abs(loss["Timestamp"] - datetime.now(UTC)) < timedelta(minutes=2)


def test_metrics_are_in_cloudwatch_while_the_job_runs(jobs: Jobs) -> None:
    name = jobs.training(
        SCRIPT, hyperparameters={"pause": "60"}, AlgorithmSpecification=algorithm(("loss", r"loss=([0-9.]+);"))
    )
    cloudwatch = jobs.runtime.client("cloudwatch")

    def minimum() -> float | None:
        now = datetime.now(UTC)
        points = cloudwatch.get_metric_statistics(
            Namespace="/aws/sagemaker/TrainingJobs", MetricName="loss", Period=60, Statistics=["Minimum"],
            Dimensions=[{"Name": "TrainingJobName", "Value": name}],
            StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=5),
        )["Datapoints"]  # fmt: skip
        return min((point["Minimum"] for point in points), default=None)

    until(lambda: minimum() == 0.333, 60, "the metric in CloudWatch")
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    description = jobs.end("training", name)
    assert [row["Value"] for row in description["FinalMetricDataList"]] == [pytest.approx(0.333)]


def test_expression_without_end_costs_its_metrics_and_nothing_else(jobs: Jobs) -> None:
    name = jobs.training("print('a' * 40 + '!', flush=True)", AlgorithmSpecification=algorithm(("slow", "(a+)+$")))
    assert jobs.end("training", name, 60)["TrainingJobStatus"] == "Completed"


def test_reader_that_dies_costs_its_metrics_and_nothing_else(jobs: Jobs) -> None:
    name = jobs.training(
        SCRIPT, hyperparameters={"pause": "1.5"}, AlgorithmSpecification=algorithm(("loss", r"loss=([0-9.]+);"))
    )
    (reader,) = until(lambda: jobs.runtime.find("metric_reader.py"), 20, "the reader")
    reader.kill()
    assert jobs.end("training", name)["TrainingJobStatus"] == "Completed"


def test_expression_that_is_none_is_refused_by_its_metric(jobs: Jobs) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=r"the Regex 'loss=\(' of metric 'loss' is invalid"):
        jobs.training("", AlgorithmSpecification=algorithm(("loss", "loss=(")))

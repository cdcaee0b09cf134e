"""Model Monitor's image as a plain processing job, the way the SageMaker SDK's suggest_baseline asks for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from tests.runtime.jobs import Jobs
from tests.runtime.process import until
from tests.runtime.schedules import suggest_baseline


def test_baseline_of_a_plain_processing_job(jobs: Jobs) -> None:
    rows = "".join(f"{index % 2},{index / 10},{'ab'[index % 2]}\n" for index in range(200))
    data = jobs.put("analyzer/train/train.csv", f"label,size,word\n{rows}".encode())
    ended = suggest_baseline(jobs, data, "s3://bucket/analyzer/baseline")
    assert ended["ProcessingJobStatus"] == "Completed", ended.get("FailureReason")
    assert ended["ExitMessage"] == "Completed: Job completed successfully with no violations."
    written = {
        name: json.loads(jobs.s3.get_object(Bucket="bucket", Key=f"analyzer/baseline/{name}.json")["Body"].read())
        for name in ("statistics", "constraints")
    }
    assert written["statistics"]["dataset"]["item_count"] == 200
    assert [(f["name"], f["inferred_type"]) for f in written["constraints"]["features"]] == [
        ("label", "Integral"), ("size", "Fractional"), ("word", "String"),
    ]  # fmt: skip
    assert any("stands for the job's image" in line for line in jobs.lines("processing", ended["ProcessingJobName"]))


def test_metrics_of_a_monitoring_job_are_in_cloudwatch(jobs: Jobs) -> None:
    data = jobs.put("analyzer/metrics/part.csv", b"size\n1\n2\n\n")
    now, schedule = datetime.now(UTC), jobs.name("schedule")
    ended = suggest_baseline(
        jobs, data, "s3://bucket/analyzer/metrics-output", publish_cloudwatch_metrics="Enabled",
        end_time=f"{now:%Y-%m-%dT%H:%M:%SZ}", sagemaker_endpoint_name="e", sagemaker_monitoring_schedule_name=schedule,
    )  # fmt: skip
    assert ended["ProcessingJobStatus"] == "Completed", ended.get("FailureReason")
    cloudwatch = jobs.runtime.client("cloudwatch")

    def sums() -> list[float]:
        points = cloudwatch.get_metric_statistics(
            Namespace="aws/sagemaker/Endpoints/data-metrics", MetricName="feature_data_size", Period=60,
            Statistics=["Sum"], StartTime=now - timedelta(minutes=5), EndTime=now + timedelta(minutes=5),
            Dimensions=[{"Name": "Endpoint", "Value": "e"}, {"Name": "MonitoringSchedule", "Value": schedule}],
        )["Datapoints"]  # fmt: skip
        return [point["Sum"] for point in points]

    until(lambda: sums() == [3.0], 60, "the metric in CloudWatch")

"""Search over training jobs, by what they are, what they measured and how they are tagged."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import pytest

from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import IMAGE, ROLE

RATES = {"a": "0.1", "b": "0.25", "c": "1.5"}


@pytest.fixture(scope="module")
def trained(runtime: Any) -> dict[str, str]:
    """Three jobs that measure their learning rate, by letter; the last one fails."""
    jobs = Jobs(runtime)
    prefix = jobs.name("searched")
    for letter, rate in RATES.items():
        jobs.sagemaker.create_training_job(
            TrainingJobName=f"{prefix}-{letter}", RoleArn=ROLE,
            AlgorithmSpecification={
                "TrainingImage": IMAGE, "TrainingInputMode": "File",
                "ContainerEntrypoint": ["/bin/sh", "-c", f"echo 'rate={rate};'; test {letter} != c"],
                "MetricDefinitions": [{"Name": "rate", "Regex": "rate=(.*);"}],
            },
            HyperParameters={"rate": rate}, ResourceConfig=CLUSTER, StoppingCondition={"MaxRuntimeInSeconds": 60},
            OutputDataConfig={"S3OutputPath": "s3://bucket/output"},
            Tags=[{"Key": "letter", "Value": letter}, {"Key": "set", "Value": prefix}],
        )  # fmt: skip
    for letter in RATES:
        jobs.end("training", f"{prefix}-{letter}")
    return {"set": prefix}


def search(jobs: Jobs, trained: dict[str, str], *filters: tuple[str, str, str], **changes: Any) -> list[str]:
    """The letters of what is found among the three."""
    rows = [{"Name": name, "Operator": operator, "Value": value} for name, operator, value in filters]
    expression = {"Filters": [{"Name": "Tags.set", "Operator": "Equals", "Value": trained["set"]}, *rows]}
    found = jobs.sagemaker.search(
        **{"Resource": "TrainingJob", "SearchExpression": expression, "SortBy": "TrainingJobName", "SortOrder": "Ascending",
           **changes}
    )  # fmt: skip
    return [row["TrainingJob"]["TrainingJobName"][-1] for row in found["Results"]]


@pytest.mark.parametrize(
    ("row", "letters"),
    [
        (("TrainingJobStatus", "Equals", "Completed"), "ab"),
        (("TrainingJobStatus", "NotEquals", "Completed"), "c"),
        (("TrainingJobName", "Contains", "SEARCHED"), "abc"),
        (("Tags.letter", "In", "a, c"), "ac"),
        (("HyperParameters.rate", "LessThan", "0.3"), "ab"),
        (("HyperParameters.rate", "GreaterThanOrEqualTo", "0.25"), "bc"),
        (("Metrics.rate", "GreaterThan", "1"), "c"),
        (("Metrics.rate", "LessThanOrEqualTo", "0.1"), "a"),
        (("CreationTime", "GreaterThan", "2020-01-01T00:00:00Z"), "abc"),
        (("CreationTime", "LessThan", "2020-01-01T00:00:00Z"), ""),
        (("ResourceConfig.InstanceCount", "Equals", "1"), "abc"),
    ],
)
def test_filter_finds_what_it_says(
    jobs: Jobs, trained: dict[str, str], row: tuple[str, str, str], letters: str
) -> None:
    assert search(jobs, trained, row) == list(letters)


def test_results_hold_what_describe_says_and_the_tags(jobs: Jobs, trained: dict[str, str]) -> None:
    name = f"{trained['set']}-a"
    expression = {"Filters": [{"Name": "TrainingJobName", "Value": name}]}
    found = jobs.sagemaker.search(Resource="TrainingJob", SearchExpression=expression)
    (record,) = (row["TrainingJob"] for row in found["Results"])
    described = jobs.sagemaker.describe_training_job(TrainingJobName=name)
    assert {key: record[key] for key in ("TrainingJobArn", "TrainingEndTime", "FinalMetricDataList")} == {
        key: described[key] for key in ("TrainingJobArn", "TrainingEndTime", "FinalMetricDataList")
    }
    assert {"Key": "letter", "Value": "a"} in record["Tags"]
    assert found["TotalHits"]["Value"] == 1


def test_expressions_nest(jobs: Jobs, trained: dict[str, str]) -> None:
    either = {
        "Operator": "Or",
        "Filters": [
            {"Name": "Tags.letter", "Operator": "Equals", "Value": "a"},
            {"Name": "FailureReason", "Operator": "Exists"},
        ],
    }
    metrics = {
        "NestedPropertyName": "FinalMetricDataList",
        "Filters": [
            {"Name": "FinalMetricDataList.MetricName", "Operator": "Equals", "Value": "rate"},
            {"Name": "FinalMetricDataList.Value", "Operator": "GreaterThan", "Value": "1"},
        ],
    }
    mine = [{"Name": "Tags.set", "Operator": "Equals", "Value": trained["set"]}]
    assert search(jobs, trained, SearchExpression={"Filters": mine, "SubExpressions": [either]}) == ["a", "c"]
    assert search(jobs, trained, SearchExpression={"Filters": mine, "NestedFilters": [metrics]}) == ["c"]


def test_pages_and_order(jobs: Jobs, trained: dict[str, str]) -> None:
    assert search(jobs, trained, SortBy="Metrics.rate", SortOrder="Descending") == ["c", "b", "a"]
    expression = {"Filters": [{"Name": "Tags.set", "Value": trained["set"]}]}
    pages = jobs.sagemaker.get_paginator("search").paginate(
        Resource="TrainingJob", SearchExpression=expression, SortBy="TrainingJobName", SortOrder="Ascending",
        PaginationConfig={"PageSize": 2},
    )  # fmt: skip
    assert [[row["TrainingJob"]["TrainingJobName"][-1] for row in page["Results"]] for page in pages] == [
        ["a", "b"],
        ["c"],
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"Resource": "Endpoint"}, "Resource='Endpoint' is not offered"),
        ({"NextToken": "nonsense"}, "NextToken 'nonsense' was not given"),
        (
            {"SearchExpression": {"Filters": [{"Name": "Metrics.rate", "Operator": "GreaterThan", "Value": "x"}]}},
            "is a number",
        ),
        (
            {"SearchExpression": {"Filters": [{"Name": "CreationTime", "Operator": "Equals", "Value": "soon"}]}},
            "is a time",
        ),
        ({"SearchExpression": {"Filters": [{"Name": "CreationTime", "Operator": "Equals"}]}}, "needs a Value"),
    ],
)
def test_search_that_cannot_be_is_refused(
    jobs: Jobs, trained: dict[str, str], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=says):
        search(jobs, trained, **changes)

"""Preflight against botocore's own model: what the builders make passes both, and what either refuses is explained."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from millrace.sagemaker import constraints, preflight
from millrace.sagemaker.preflight import PreflightError, check
from tests.sagemaker.built import BUILT

MODEL = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")
ROLE = "arn:aws:iam::123456789012:role/jobs"


def training(**changes: Any) -> dict[str, Any]:
    request: dict[str, Any] = {
        "TrainingJobName": "train-1",
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "local/jobs", "TrainingInputMode": "File"},
        "InputDataConfig": [channel("train")],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "HyperParameters": {"epochs": "3"},
    }
    return request | changes


def channel(name: str) -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}}}


def transform(**changes: Any) -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/in"}}
    request: dict[str, Any] = {
        "TransformJobName": "transform-1",
        "ModelName": "model",
        "TransformInput": {"DataSource": source, "SplitType": "Line"},
        "TransformOutput": {"S3OutputPath": "s3://bucket/out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    return request | changes


def refusal(operation: str, request: dict[str, Any]) -> str:
    with pytest.raises(PreflightError) as caught:
        check(operation, request)
    return str(caught.value)


def botocore_refuses(operation: str, request: dict[str, Any]) -> bool:
    shape = MODEL.operation_model(operation).input_shape
    assert shape is not None
    return bool(ParamValidator().validate(request, shape).has_errors())


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every scalar in a request."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path


def replaced(request: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(request)
    holder: Any = changed
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return changed


def test_the_table_is_what_the_installed_botocore_makes() -> None:
    assert preflight.TABLE.read_text(encoding="utf-8") == constraints.generate(), (
        "run `python -m millrace.sagemaker.constraints`"
    )


def test_checking_a_request_loads_neither_boto3_nor_botocore() -> None:
    program = (
        "import sys; from millrace.sagemaker import preflight\n"
        "try: preflight.check('CreateModel', {})\n"
        "except preflight.PreflightError: pass\n"
        "sys.exit(sorted({'boto3', 'botocore'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@given(BUILT)
def test_what_the_builders_make_is_accepted_by_botocore_and_by_preflight(built: tuple[str, dict[str, Any]]) -> None:
    operation, request = built
    assert not botocore_refuses(operation, request)
    check(operation, request)


@given(BUILT, st.data())
def test_preflight_refuses_every_wrong_scalar_that_botocore_refuses(
    built: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    operation, request = built
    path = data.draw(st.sampled_from(list(leaves(request))))
    wrong = data.draw(st.sampled_from(["", "x", 0, -1, True, b"x", (), object]))
    changed = replaced(request, path, wrong)
    if botocore_refuses(operation, changed):
        refusal(operation, changed)


@given(BUILT, st.data())
def test_a_template_in_place_of_any_value_is_passed_over(
    built: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    operation, request = built
    path = data.draw(st.sampled_from(list(leaves(request))))
    for template in ("{{ known later }}", "s3://{{ bucket }}/in", "{% if x %}a{% endif %}"):
        check(operation, replaced(request, path, template))


def test_a_missing_member_is_named() -> None:
    request = training()
    del request["RoleArn"]
    assert refusal("CreateTrainingJob", request) == "CreateTrainingJob would be refused: RoleArn is missing"


def test_a_member_that_aws_does_not_know_is_named_by_its_path() -> None:
    assert "ResourceConfig.InstanceKind is unknown" in refusal(
        "CreateTrainingJob", training(ResourceConfig={"InstanceKind": "ml.c5.xlarge", "VolumeSizeInGB": 1})
    )


def test_a_breach_names_argument_value_and_what_would_fit() -> None:
    request = training(
        TrainingJobName="my_job",
        ResourceConfig={"InstanceType": "ml.c5.huge", "InstanceCount": 0, "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 0},
    )
    text = refusal("CreateTrainingJob", request)
    assert "TrainingJobName is 'my_job' and must match [a-zA-Z0-9]" in text
    assert "ResourceConfig.InstanceType is 'ml.c5.huge' and must be one of ml." in text
    assert "more" in text
    assert "StoppingCondition.MaxRuntimeInSeconds is 0; at least 1" in text
    assert text.count("; ") >= 3


def test_a_name_that_is_too_long_is_shown_with_its_length_and_the_limit() -> None:
    text = refusal("CreateTrainingJob", training(TrainingJobName="a" * 64))
    assert "(64 characters); at most 63 characters" in text


def test_a_list_with_too_many_items_is_shown_with_its_length_and_the_limit() -> None:
    limit = preflight.table()["shapes"]["InputDataConfig"]["max"]
    check("CreateTrainingJob", training(InputDataConfig=[channel(f"c{n}") for n in range(limit)]))
    many = training(InputDataConfig=[channel(f"c{n}") for n in range(limit + 1)])
    assert f"InputDataConfig has {limit + 1} items; at most {limit} items" in refusal("CreateTrainingJob", many)


def test_map_entries_are_held_against_the_limits_of_keys_and_values() -> None:
    text = refusal("CreateTrainingJob", training(HyperParameters={"k" * 257: "v", "note": "v" * 2501, "epochs": 3}))
    assert "the key 'kkk" in text
    assert "HyperParameters['note']" in text
    assert "HyperParameters['epochs'] is 3 and must be a string" in text


@pytest.mark.parametrize(
    ("path", "value", "wanted"),
    [
        (("HyperParameters",), "epochs=3", "must be a mapping"),
        (("OutputDataConfig",), "s3://bucket/out", "must be a mapping"),
        (("EnableNetworkIsolation",), "yes", "must be True or False"),
        (("EnableNetworkIsolation",), 1, "must be True or False"),
        (("ResourceConfig", "InstanceCount"), "2", "must be a whole number"),
        (("ResourceConfig", "InstanceCount"), True, "must be a whole number"),
        (("InputDataConfig",), {}, "must be a list"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_which_type_it_must_be(
    path: tuple[str, ...], value: Any, wanted: str
) -> None:
    text = refusal("CreateTrainingJob", replaced(training(), path, value))
    assert ".".join(path) in text
    assert wanted in text


@pytest.mark.parametrize("wait", [3599, 1])
def test_the_wait_of_a_spot_job_must_cover_its_runtime(wait: int) -> None:
    spot = training(
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": wait},
    )
    assert f"MaxWaitTimeInSeconds ({wait}) must be at least MaxRuntimeInSeconds (3600)" in refusal(
        "CreateTrainingJob", spot
    )
    spot["StoppingCondition"]["MaxWaitTimeInSeconds"] = 3600
    check("CreateTrainingJob", spot)


def test_a_spot_job_needs_a_wait() -> None:
    text = refusal("CreateTrainingJob", training(EnableManagedSpotTraining=True))
    assert "StoppingCondition.MaxWaitTimeInSeconds" in text


def test_channel_names_must_differ() -> None:
    text = refusal("CreateTrainingJob", training(InputDataConfig=[channel("train"), channel("test"), channel("train")]))
    assert "channel names must differ, and train is used twice" in text


@pytest.mark.parametrize(
    ("payload", "concurrent", "fits"), [(10, 10, True), (6, 16, True), (20, 6, False), (50, 3, False)]
)
def test_payload_times_concurrency_is_at_most_100_mb(payload: int, concurrent: int, fits: bool) -> None:
    request = transform(MaxPayloadInMB=payload, MaxConcurrentTransforms=concurrent)
    if fits:
        check("CreateTransformJob", request)
    else:
        text = refusal("CreateTransformJob", request)
        assert f"MaxPayloadInMB ({payload}) times MaxConcurrentTransforms ({concurrent}) is over 100" in text


def test_concurrency_counts_against_the_default_payload() -> None:
    check("CreateTransformJob", transform(MaxConcurrentTransforms=16))
    assert "(6) times" in refusal("CreateTransformJob", transform(MaxConcurrentTransforms=17))


def test_multi_record_batches_need_a_split() -> None:
    whole = transform(BatchStrategy="MultiRecord")
    check("CreateTransformJob", whole)
    del whole["TransformInput"]["SplitType"]
    assert "SplitType" in refusal("CreateTransformJob", whole)


def test_input_and_output_names_of_a_processing_job_must_differ() -> None:
    target = {"S3Uri": "s3://b/o", "LocalPath": "/opt/ml/processing/output/o", "S3UploadMode": "EndOfJob"}
    source = {"S3Uri": "s3://b/i", "LocalPath": "/opt/ml/processing/input/i", "S3DataType": "S3Prefix"}
    text = refusal(
        "CreateProcessingJob",
        {
            "ProcessingJobName": "p",
            "RoleArn": ROLE,
            "AppSpecification": {"ImageUri": "local/jobs"},
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
            },
            "ProcessingInputs": [{"InputName": "data", "S3Input": source}] * 2,
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": "report", "S3Output": target}] * 2},
        },
    )
    assert text.endswith(
        "input names must differ, and data is used twice; output names must differ, and report is used twice"
    )

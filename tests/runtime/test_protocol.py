"""AWS JSON against botocore's model: what AWS refuses is refused in AWS's words, and what it ignores never gets in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape

from millrace.runtime import protocol
from millrace.runtime.errors import SerializationException, UnknownOperation, ValidationException
from tests.runtime.process import ROLE

NAME_PATTERN = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
REQUEST: dict[str, Any] = {
    "TrainingJobName": "train-1",
    "RoleArn": ROLE,
    "AlgorithmSpecification": {"TrainingImage": "local/jobs", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
    "ResourceConfig": {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
}


def parse(**changes: Any) -> dict[str, Any]:
    return protocol.parse("sagemaker", "CreateTrainingJob", json.dumps(REQUEST | changes).encode())


def refusal(**changes: Any) -> str:
    with pytest.raises(ValidationException) as caught:
        parse(**changes)
    return caught.value.message


def patterns(service: str, operation: str) -> set[str]:
    """Every pattern that a request of one operation can be held against."""
    start = protocol.operation(service, operation).input_shape
    waiting: list[Shape] = [start] if start is not None else []
    seen: set[str] = set()
    found: set[str] = set()
    while waiting:
        shape = waiting.pop()
        if shape.name in seen:
            continue
        seen.add(shape.name)
        found |= {shape.metadata["pattern"]} if "pattern" in shape.metadata else set()
        if isinstance(shape, StructureShape):
            waiting += shape.members.values()
        elif isinstance(shape, ListShape):
            waiting.append(shape.member)
        elif isinstance(shape, MapShape):
            waiting += [shape.key, shape.value]
    return found


def test_a_good_request_is_returned_as_it_is() -> None:
    assert parse() == REQUEST


def test_a_value_over_its_maximum_is_refused_in_awss_words() -> None:
    text = refusal(ResourceConfig=REQUEST["ResourceConfig"] | {"KeepAlivePeriodInSeconds": 21601})
    assert text == (
        "1 validation error detected: Value '21601' at 'resourceConfig.keepAlivePeriodInSeconds' failed to satisfy "
        "constraint: Member must have value less than or equal to 21600"
    )


def test_a_value_under_its_minimum_is_refused_in_awss_words() -> None:
    assert refusal(StoppingCondition={"MaxRuntimeInSeconds": 0}).endswith(
        "Value '0' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1"
    )


def test_a_value_outside_its_enumeration_is_refused_with_the_values() -> None:
    algorithm = {"TrainingImage": "local/jobs", "TrainingInputMode": "Stream"}
    assert refusal(AlgorithmSpecification=algorithm).endswith(
        "Value 'Stream' at 'algorithmSpecification.trainingInputMode' failed to satisfy constraint: "
        "Member must satisfy enum value set: [Pipe, File, FastFile]"
    )


def test_a_value_that_does_not_match_its_pattern_is_refused_with_the_pattern() -> None:
    assert refusal(TrainingJobName="my_job") == (
        "1 validation error detected: Value 'my_job' at 'trainingJobName' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {NAME_PATTERN}"
    )


@pytest.mark.parametrize("value", [None, "gone"])
def test_a_missing_member_is_refused_in_awss_words_and_null_is_missing(value: str | None) -> None:
    request = {key: item for key, item in REQUEST.items() if key != "RoleArn"} | ({} if value else {"RoleArn": None})
    with pytest.raises(ValidationException) as caught:
        protocol.parse("sagemaker", "CreateTrainingJob", json.dumps(request).encode())
    assert caught.value.message == (
        "1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null"
    )


def test_all_breaches_are_told_at_once_with_their_number() -> None:
    text = refusal(TrainingJobName="a" * 64, RoleArn="me", StoppingCondition={"MaxRuntimeInSeconds": 0})
    assert text.startswith("5 validation errors detected: ")
    assert text.count("; ") == 4


def test_items_of_lists_and_maps_are_named_by_their_place() -> None:
    tags = [{"Key": "a", "Value": "b"}, {"Key": "", "Value": "b"}]
    assert "'tags.2.member.key'" in refusal(Tags=tags)
    assert "'hyperParameters.note.member'" in refusal(HyperParameters={"note": "v" * 2501})
    assert "'hyperParameters.key'" in refusal(HyperParameters={"k" * 257: "v"})


def test_a_list_that_is_too_long_is_refused_by_length() -> None:
    tags = [{"Key": f"k{number}", "Value": ""} for number in range(51)]
    assert "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50" in refusal(
        Tags=tags
    )


def test_a_long_value_is_shown_by_its_beginning() -> None:
    assert len(refusal(HyperParameters={"note": "v" * 100_000})) < 600


def test_members_that_the_service_does_not_know_are_dropped_at_every_depth() -> None:
    resources = {**REQUEST["ResourceConfig"], "Colour": "red"}
    tags = [{"Key": "a", "Value": "b", "Weight": 1}]
    found = parse(ResourceConfig=resources, Tags=tags, AddedIn2030={"x": 1})
    assert found == REQUEST | {"Tags": [{"Key": "a", "Value": "b"}]}


def test_null_members_are_dropped_and_maps_keep_every_key() -> None:
    found = parse(Environment={"A": "1", "lower": "2"}, InputDataConfig=None)
    assert found == REQUEST | {"Environment": {"A": "1", "lower": "2"}}


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"not json", b'{"a": }'])
def test_a_body_that_is_not_json_is_refused_by_the_operations_name(body: bytes) -> None:
    with pytest.raises(SerializationException, match="the body of ListModels is not JSON"):
        protocol.parse("sagemaker", "ListModels", body)


@pytest.mark.parametrize(("body", "kind"), [(b"[]", "list"), (b"null", "NoneType"), (b'"x"', "str"), (b"1", "int")])
def test_a_body_that_is_no_object_is_refused_by_its_type(body: bytes, kind: str) -> None:
    with pytest.raises(SerializationException, match=f"is a JSON {kind}; it must be an object"):
        protocol.parse("sagemaker", "ListModels", body)


def test_an_empty_body_is_an_empty_request() -> None:
    assert protocol.parse("sagemaker", "ListModels", b"") == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"TrainingJobName": 7}, "trainingJobName is 7; it must be a str"),
        ({"ResourceConfig": "large"}, "resourceConfig is 'large'; it must be a dict"),
        ({"Tags": {"Key": "a"}}, "tags is {'Key': 'a'}; it must be a list"),
        ({"HyperParameters": ["a"]}, "hyperParameters is ['a']; it must be a dict"),
        ({"EnableNetworkIsolation": "true"}, "enableNetworkIsolation is 'true'; it must be a bool"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": True}}, "maxRuntimeInSeconds is True; it must be a int"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 1.5}}, "maxRuntimeInSeconds is 1.5; it must be a int"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": "60"}}, "maxRuntimeInSeconds is '60'; it must be a int"),
    ],
)
def test_a_member_of_the_wrong_type_is_told_which_it_must_be(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(SerializationException) as caught:
        parse(**changes)
    assert told in caught.value.message


def test_an_operation_that_the_service_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(UnknownOperation, match="sagemaker has no operation 'CreateMagic'"):
        protocol.parse("sagemaker", "CreateMagic", b"{}")


def test_answers_hold_only_members_that_the_operation_has() -> None:
    result = {"ModelName": "m", "ModelArn": "arn", "CreationTime": 1.5, "EnableNetworkIsolation": None, "secret": "s",
              "PrimaryContainer": {"Image": "i", "internal": 1}}  # fmt: skip
    assert json.loads(protocol.serialise("sagemaker", "DescribeModel", result)) == {
        "ModelName": "m", "ModelArn": "arn", "CreationTime": 1.5, "PrimaryContainer": {"Image": "i"},
    }  # fmt: skip


def test_an_operation_without_an_output_answers_nothing() -> None:
    assert protocol.serialise("sagemaker", "StopTrainingJob", None) == b""
    assert protocol.serialise("sagemaker", "DeleteModel", {"ignored": 1}) == b""


@pytest.mark.parametrize(
    ("service", "operation"),
    [("sagemaker", name) for name in (
        "CreateTrainingJob", "CreateTransformJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint",
        "UpdateEndpoint", "DescribeTrainingJob", "DescribeProcessingJob", "StopTransformJob", "ListTrainingJobs",
        "ListEndpoints", "AddTags", "DeleteTags", "DeleteModel")]
    + [("logs", name) for name in ("DescribeLogStreams", "GetLogEvents", "FilterLogEvents", "DescribeLogGroups")],
)  # fmt: skip
def test_every_pattern_that_a_request_can_meet_compiles(service: str, operation: str) -> None:
    met = patterns(service, operation)
    assert met
    for pattern in met:
        protocol._compiled(pattern)


@pytest.mark.parametrize("value", ["team ä", "数据", "a/b:c=d+e-f@g.h_i", "x²", ""])
def test_tags_take_letters_and_digits_of_every_script(value: str) -> None:
    assert parse(Tags=[{"Key": "k", "Value": value}])["Tags"][0]["Value"] == value


@pytest.mark.parametrize("value", ["a;b", "50%", "{x}", "a\\b", "a*b"])
def test_tags_take_no_other_signs(value: str) -> None:
    assert "'tags.1.member.value'" in refusal(Tags=[{"Key": "k", "Value": value}])


def test_a_name_with_a_line_end_does_not_pass_for_one_without() -> None:
    assert NAME_PATTERN in refusal(TrainingJobName="train-1\n")

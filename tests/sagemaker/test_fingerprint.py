"""Fingerprints of real requests: what changes a result changes the key and is named; what does not is left out."""

from __future__ import annotations

import copy
import io
import json
import re
import tarfile
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sagemaker import source
from millrace.sagemaker.fingerprint import Fingerprint, NoFingerprint, fingerprint, key_of
from millrace.sagemaker.kinds import PROCESSING, TRAINING, TRANSFORM, JobKind
from millrace.sagemaker.requests import Cluster, ProcessingRequest, TrainingRequest, TransformRequest
from tests.runtime.jobs import archive
from tests.runtime.process import IMAGE, ROLE

CLUSTER = Cluster(instance_type="ml.m5.large")
Ask = Callable[[JobKind, dict[str, Any]], Fingerprint | NoFingerprint]


@pytest.fixture
def place(s3: Any) -> str:
    """A folder with two objects of training data."""
    place = f"s3://bucket/fingerprint/{uuid.uuid4().hex}"
    put(s3, f"{place}/train/part-0.parquet", b"zero")
    put(s3, f"{place}/train/part-1.parquet", b"one")
    return place


@pytest.fixture
def code(s3: Any) -> str:
    return source.archive(("pipelines.digits",)).upload(s3, "bucket")


@pytest.fixture
def ask(s3: Any, sagemaker: Any) -> Ask:
    return lambda kind, request: fingerprint(s3, sagemaker, kind, request)


@pytest.fixture
def training(place: str, code: str) -> TrainingRequest:
    return TrainingRequest(
        job_name="one-train-0123", role_arn=ROLE, image=IMAGE, program="pipelines/digits/jobs/train.py", code_uri=code,
        output_uri=f"{place}/output", cluster=CLUSTER, channels={"train": f"{place}/train"},
        hyperparameters={"epochs": 14}, environment={"TOKEN": "hunter2"},
    )  # fmt: skip


@pytest.fixture
def processing(place: str, code: str) -> ProcessingRequest:
    return ProcessingRequest(
        job_name="one-prepare-0123", role_arn=ROLE, image=IMAGE, module="pipelines.digits.jobs.ingest", code_uri=code,
        cluster=CLUSTER, arguments=["--rows", "10"], inputs={"raw": f"{place}/train"}, outputs={"out": f"{place}/o"},
    )  # fmt: skip


def put(s3: Any, uri: str, body: bytes) -> None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    s3.put_object(Bucket=bucket, Key=key, Body=body)


def known(found: Fingerprint | NoFingerprint) -> Fingerprint:
    assert isinstance(found, Fingerprint), found
    return found


def differing(one: Fingerprint, other: Fingerprint) -> set[str]:
    assert one.key != other.key
    return {
        name for name in {*one.components, *other.components} if one.components.get(name) != other.components.get(name)
    }


@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()), st.randoms())
def test_key_is_equal_exactly_when_the_components_are_in_any_order(
    one: dict[str, str], other: dict[str, str], random: Any
) -> None:
    shuffled = list(one.items())
    random.shuffle(shuffled)
    assert key_of(dict(shuffled)) == key_of(one)
    assert (key_of(one) == key_of(other)) == (one == other)


def test_components_are_named_for_people(ask: Ask, training: TrainingRequest) -> None:
    components = known(ask(TRAINING, training.to_api())).components
    assert components["image"] == IMAGE
    assert components["instances"] == "1"
    assert components["hyperparameter epochs"] == "14"
    assert components["input train: part-0.parquet"].endswith(" 4")
    assert len(components["code: pipelines/digits/jobs/train.py"]) == 64
    assert components["input train, DataSource.S3DataSource.S3DataDistributionType"] == "FullyReplicated"
    assert "hunter2" not in json.dumps(dict(components))


def test_request_is_left_as_it_was(ask: Ask, training: TrainingRequest) -> None:
    request = training.to_api()
    before = copy.deepcopy(request)
    ask(TRAINING, request)
    assert request == before


@pytest.mark.parametrize(
    "change",
    [
        {"job_name": "two-train-4567"},
        {"role_arn": "arn:aws:iam::999999999999:role/other"},
        {"output_uri": "s3://elsewhere/output"},
        {"cluster": Cluster(instance_type="ml.p4d.24xlarge", volume_size_gb=500)},
        {"max_runtime_seconds": 60},
    ],
)
def test_what_changes_no_result_changes_no_key(ask: Ask, training: TrainingRequest, change: dict[str, Any]) -> None:
    other = {**replace(training, **change).to_api(), "Tags": [{"Key": "a", "Value": "b"}]}
    assert known(ask(TRAINING, training.to_api())).key == known(ask(TRAINING, other)).key


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"image": "local/other"}, {"image"}),
        ({"hyperparameters": {"epochs": 20}}, {"hyperparameter epochs"}),
        ({"hyperparameters": {"epochs": "14"}}, {"hyperparameter epochs"}),
        ({"environment": {"TOKEN": "hunter3"}}, {"environment TOKEN"}),
        ({"cluster": replace(CLUSTER, instance_count=2)}, {"instances"}),
        ({"program": "pipelines/digits/jobs/other.py"}, {"hyperparameter sagemaker_program"}),
        ({"distributed": True}, {"hyperparameter sagemaker_torch_distributed_enabled"}),
    ],
)
def test_change_of_a_parameter_is_named(
    ask: Ask, training: TrainingRequest, change: dict[str, Any], names: set[str]
) -> None:
    one, other = (known(ask(TRAINING, r.to_api())) for r in (training, replace(training, **change)))
    assert differing(one, other) == names


def test_change_of_one_object_is_named(s3: Any, ask: Ask, training: TrainingRequest, place: str) -> None:
    before = known(ask(TRAINING, training.to_api()))
    put(s3, f"{place}/train/part-0.parquet", b"ZERO")
    put(s3, f"{place}/train/part-2.parquet", b"two")
    after = known(ask(TRAINING, training.to_api()))
    assert differing(before, after) == {"input train: part-0.parquet", "input train: part-2.parquet"}
    put(s3, f"{place}/train/part-0.parquet", b"zero")
    s3.delete_object(Bucket="bucket", Key=f"{place}/train/part-2.parquet".removeprefix("s3://bucket/"))
    assert known(ask(TRAINING, training.to_api())).key == before.key, "a newer object of the same bytes"


def test_same_data_in_another_bucket_is_the_same_content(s3: Any, ask: Ask, training: TrainingRequest) -> None:
    s3.create_bucket(Bucket="another-bucket")
    put(s3, "s3://another-bucket/deep/down/part-0.parquet", b"zero")
    put(s3, "s3://another-bucket/deep/down/part-1.parquet", b"one")
    moved = replace(training, channels={"train": "s3://another-bucket/deep/down/"})
    assert known(ask(TRAINING, training.to_api())).key == known(ask(TRAINING, moved.to_api())).key


def test_change_of_one_line_of_code_names_its_file(s3: Any, ask: Ask, training: TrainingRequest) -> None:
    found = []
    for letter, text in (("a", "x = 1"), ("b", "x = 2")):
        uri = f"s3://bucket/code/{letter * 64}.tar.gz"
        put(s3, uri, archive({"jobs/train.py": text, "jobs/same.py": ""}))
        found.append(known(ask(TRAINING, replace(training, code_uri=uri).to_api())))
    assert differing(*found) == {"code: jobs/train.py"}


def test_isolated_job_takes_its_code_from_a_channel_and_it_counts_alike(ask: Ask, training: TrainingRequest) -> None:
    isolated = known(ask(TRAINING, replace(training, network_isolation=True).to_api())).components
    assert "code: pipelines/digits/jobs/train.py" in isolated
    assert not any(training.code_uri.rpartition("/")[2] in value for value in isolated.values())


def test_processing_knows_arguments_code_and_inputs(ask: Ask, processing: ProcessingRequest) -> None:
    one = known(ask(PROCESSING, processing.to_api()))
    assert "code: pipelines/digits/jobs/ingest.py" in one.components
    moved = replace(processing, job_name="x", outputs={"out": "s3://elsewhere/o"})
    assert known(ask(PROCESSING, moved.to_api())).key == one.key
    other = replace(processing, arguments=["--rows", "12"], module="pipelines.digits.jobs.evaluate")
    assert differing(one, known(ask(PROCESSING, other.to_api()))) == {"argument 2", "entrypoint 4"}
    fewer = known(ask(PROCESSING, replace(processing, outputs={}).to_api()))
    assert "output out" in differing(one, fewer)


def test_transform_knows_the_model_by_its_archive_and_not_by_its_name(
    s3: Any, sagemaker: Any, ask: Ask, place: str
) -> None:
    def asked(body: bytes, **container: Any) -> Fingerprint:
        name = f"model-{uuid.uuid4().hex}"
        uri = f"{place}/{name}/model.tar.gz"
        put(s3, uri, body)
        primary = {"Image": IMAGE, "ModelDataUrl": uri, "Environment": {"LEVEL": "1"}, **container}
        sagemaker.create_model(ModelName=name, PrimaryContainer=primary, ExecutionRoleArn=ROLE)
        request = TransformRequest(
            job_name="t", model_name=name, input_uri=f"{place}/train", output_uri=f"{place}/{name}", cluster=CLUSTER
        )
        return known(ask(TRANSFORM, request.to_api()))

    one = asked(b"weights")
    assert asked(b"weights").key == one.key
    assert differing(one, asked(b"WEIGHTS")) == {"model: archive"}
    assert differing(one, asked(b"weights", Environment={"LEVEL": "2"})) == {"model environment LEVEL"}
    assert "input data: part-0.parquet" in one.components


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"channels": {"train": "s3://bucket/nothing/here"}},
            "the input train is empty: there is no object at s3://bucket",
        ),
        ({"channels": {"train": "s3://no-such-bucket-at-all/x"}}, "cannot be looked at: .*NoSuchBucket"),
        ({"channels": {"train": "file:///etc"}}, "is not an S3 URI"),
        ({"code_uri": f"s3://bucket/code/{'c' * 64}.tar.gz"}, "cannot be looked at: .*NoSuchKey"),
    ],
)
def test_content_that_cannot_be_told_has_no_fingerprint_and_a_reason(
    ask: Ask, training: TrainingRequest, change: dict[str, Any], said: str
) -> None:
    found = ask(TRAINING, replace(training, **change).to_api())
    assert isinstance(found, NoFingerprint)
    assert re.search(said, found.reason)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ({"CheckpointConfig": {"S3Uri": "s3://bucket/shared"}}, "checkpoints at s3://bucket/shared"),
        ({"NewFeature": {"S3Uri": "s3://bucket/x"}}, "NewFeature.S3Uri is s3://bucket/x, and what lies there is not"),
    ],
)
def test_place_in_s3_that_nobody_looks_at_is_no_content(
    ask: Ask, training: TrainingRequest, member: dict[str, Any], said: str
) -> None:
    found = ask(TRAINING, training.to_api() | member)
    assert isinstance(found, NoFingerprint) and said in found.reason


def test_jobs_own_checkpoints_are_output_and_unknown_members_count(
    ask: Ask, training: TrainingRequest, place: str
) -> None:
    own = {"S3Uri": f"{place}/output/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
    found = known(ask(TRAINING, training.to_api() | {"CheckpointConfig": own, "NewFeature": {"Deep": [1, 2]}}))
    plain = known(ask(TRAINING, training.to_api()))
    assert differing(found, plain) == {"CheckpointConfig.LocalPath", "NewFeature.Deep.1", "NewFeature.Deep.2"}


def bomb() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        member = tarfile.TarInfo("zeros")
        member.size = 200 * 1024 * 1024
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    return raw.getvalue()


NO_ARCHIVES: dict[str, Callable[[], bytes]] = {
    "empty": bytes, "text": lambda: b"no archive", "bomb": bomb, "torn": lambda: archive({"a.py": "x"})[:-30],
}  # fmt: skip


@pytest.mark.parametrize("made", list(NO_ARCHIVES.values()), ids=list(NO_ARCHIVES))
def test_archive_that_is_none_counts_as_the_bytes_that_it_is(
    s3: Any, ask: Ask, training: TrainingRequest, made: Callable[[], bytes]
) -> None:
    uri = f"s3://bucket/code/{'d' * 64}.tar.gz"
    put(s3, uri, made())
    assert "code" in known(ask(TRAINING, replace(training, code_uri=uri).to_api())).components


@given(st.text(min_size=1, max_size=600), st.text(min_size=1, max_size=600))
def test_arguments_of_any_length_are_told_apart(one: str, other: str) -> None:
    def asked(value: str) -> Fingerprint:
        request = {"AppSpecification": {"ImageUri": IMAGE, "ContainerArguments": [value]}}
        return known(fingerprint(None, None, PROCESSING, request))

    assert (asked(one).key == asked(other).key) == (one == other)
    assert all(len(value) < 1_000 for value in asked(one).components.values())

"""The step cache on a real S3: real jobs remembered and found again, at the same time, changed, corrupted and gone."""

from __future__ import annotations

import copy
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.sagemaker import cache_records, source, step_cache
from millrace.sagemaker.fingerprint import Fingerprint, NoFingerprint, fingerprint
from millrace.sagemaker.kinds import PROCESSING, TRAINING, TRANSFORM
from millrace.sagemaker.names import TaskIdentity
from millrace.sagemaker.requests import Cluster, ProcessingRequest
from millrace.sagemaker.step_cache import Hit, Miss, Remembered, lookup, output_uris, remember
from tests.runtime.jobs import Jobs
from tests.runtime.process import IMAGE, ROLE, RuntimeProcess

BY = TaskIdentity(deployment="one", dag_id="pipeline", run_id="scheduled__2026-01-01", task_id="prepare")


@pytest.fixture(scope="module")
def finished(runtime: RuntimeProcess) -> dict[str, Any]:
    """The description of a processing job that has left two objects."""
    jobs = Jobs(runtime)
    name = jobs.name("cached")
    target = {
        "S3Uri": f"s3://bucket/{name}/out", "LocalPath": "/opt/ml/processing/output/out", "S3UploadMode": "EndOfJob",
    }  # fmt: skip
    jobs.processing(
        'cd "${SAGEMAKER_BASE_DIR:-/opt/ml}/processing/output/out" && echo 1 > a && echo 2 > b',
        name,
        ProcessingOutputConfig={"Outputs": [{"OutputName": "out", "S3Output": target}]},
        Environment={"TOKEN": "hunter2"},
    )
    return jobs.end("processing", name)


@pytest.fixture
def found() -> Fingerprint:
    """A content that nobody else has."""
    return Fingerprint("processing", {"kind": "processing", "argument 1": uuid.uuid4().hex})


@pytest.fixture
def key(found: Fingerprint) -> str:
    return f"cache/entries/{found.key}.json"


@pytest.fixture
def outputs(s3: Any, finished: dict[str, Any]) -> Iterator[str]:
    """The folder of the job's outputs, put back as it was."""
    prefix = f"{finished['ProcessingJobName']}/out/"
    yield prefix
    for item in s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", ()):
        s3.delete_object(Bucket="bucket", Key=item["Key"])
    for name, body in (("a", b"1\n"), ("b", b"2\n")):
        s3.put_object(Bucket="bucket", Key=f"{prefix}{name}", Body=body)


def store(s3: Any, found: Fingerprint, description: dict[str, Any], **options: Any) -> Remembered:
    return remember(s3, "bucket", found.key, found, PROCESSING, description, BY, **options)


def missed(answer: Hit | Miss) -> Miss:
    assert isinstance(answer, Miss), answer
    return answer


def test_job_that_succeeded_is_found_again_by_its_content(
    s3: Any, found: Fingerprint, finished: dict[str, Any]
) -> None:
    assert lookup(s3, "bucket", found) == Miss("no job of this content is remembered")
    assert store(s3, found, finished) == Remembered(True, f"remembered as {found.key[:12]}")
    hit = lookup(s3, "bucket", Fingerprint("processing", dict(reversed(list(found.components.items())))))
    assert isinstance(hit, Hit)
    assert hit.entry.job_name == finished["ProcessingJobName"] and hit.entry.arn == finished["ProcessingJobArn"]
    assert hit.entry.written_by == BY
    assert hit.reason == (
        f"the processing job {hit.entry.job_name} of pipeline.prepare, scheduled__2026-01-01, had the same content"
    )
    assert hit.entry.description["ProcessingOutputConfig"] == finished["ProcessingOutputConfig"]


def test_same_step_of_another_run_is_a_hit(runtime: RuntimeProcess, s3: Any, sagemaker: Any) -> None:
    """The whole way, with a job as an operator asks for it."""
    jobs = Jobs(runtime)
    code = source.archive(("pipelines.digits",)).upload(s3, "bucket")

    def request(run: str) -> dict[str, Any]:
        return ProcessingRequest(
            job_name=run, role_arn=ROLE, image=IMAGE, module="timeit", code_uri=code,
            cluster=Cluster(instance_type="ml.m5.large"), inputs={"raw": jobs.put(f"{run}/raw/a.csv", b"1,2")},
            arguments=["-n", "1", "-r", "1", "open('output/out/b.csv', 'w').write('3')"],
            outputs={"out": f"s3://bucket/{run}/out"},
        ).to_api()  # fmt: skip

    def look(run: str) -> Fingerprint:
        found = fingerprint(s3, sagemaker, PROCESSING, request(run))
        assert isinstance(found, Fingerprint)
        return found

    first, second = jobs.name("first"), jobs.name("second")
    before = look(first)
    assert isinstance(lookup(s3, "bucket", before), Miss)
    sagemaker.create_processing_job(**request(first))
    description = jobs.end("processing", first)
    assert remember(s3, "bucket", before.key, look(first), PROCESSING, description, BY).stored
    hit = lookup(s3, "bucket", look(second))
    assert isinstance(hit, Hit)
    assert (hit.entry.job_name, [output.objects for output in hit.entry.outputs]) == (first, [1])


def test_entry_holds_no_secret_and_no_time_of_the_job(
    s3: Any, found: Fingerprint, key: str, finished: dict[str, Any]
) -> None:
    assert finished["Environment"] == {"TOKEN": "hunter2"}
    store(s3, found, finished)
    text = s3.get_object(Bucket="bucket", Key=key)["Body"].read().decode()
    assert "hunter2" not in text and finished["RoleArn"] not in text
    assert not [name for name in json.loads(text)["description"] if name.endswith("Time")]


def test_training_job_is_remembered_with_its_folder(runtime: RuntimeProcess, s3: Any) -> None:
    jobs = Jobs(runtime)
    name = jobs.training("import os; open(os.environ['SM_MODEL_DIR'] + '/weights', 'w').write('1')")
    description = jobs.end("training", name)
    assert output_uris(TRAINING, description) == [f"s3://bucket/output/{name}"]
    found = Fingerprint("training", {"kind": "training", "argument": name})
    assert remember(s3, "bucket", found.key, found, TRAINING, description, BY).stored
    hit = lookup(s3, "bucket", found)
    assert isinstance(hit, Hit)
    assert hit.entry.description["ModelArtifacts"] == description["ModelArtifacts"]
    assert hit.entry.outputs[0].objects == 1


def test_transform_job_has_one_folder() -> None:
    assert output_uris(TRANSFORM, {"TransformOutput": {"S3OutputPath": "s3://bucket/p"}}) == ["s3://bucket/p"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s3, prefix: s3.delete_object(Bucket="bucket", Key=f"{prefix}a"), r"is gone: 1 of 2 objects are left"),
        (lambda s3, prefix: s3.put_object(Bucket="bucket", Key=f"{prefix}a", Body=b"x"), r"out has changed$"),
        (
            lambda s3, prefix: s3.put_object(Bucket="bucket", Key=f"{prefix}c", Body=b"3"),
            r"has changed: .* more than 2",
        ),
    ],
)
def test_outputs_that_are_not_as_they_were_are_a_miss_and_make_room(
    s3: Any, found: Fingerprint, finished: dict[str, Any], outputs: str, change: Callable[[Any, str], Any], said: str
) -> None:
    store(s3, found, finished)
    change(s3, outputs)
    miss = missed(lookup(s3, "bucket", found))
    assert miss.reason.startswith(f"the job {finished['ProcessingJobName']} had the same content, but its output s3://")
    assert not miss.suspect
    assert re.search(said, miss.reason)
    assert "in place of an earlier entry" in store(s3, found, finished).reason
    assert isinstance(lookup(s3, "bucket", found), Hit)


def test_first_of_two_is_kept_unless_a_step_was_run_again_on_purpose(
    s3: Any, found: Fingerprint, key: str, finished: dict[str, Any]
) -> None:
    store(s3, found, finished)
    first = s3.head_object(Bucket="bucket", Key=key)["LastModified"]
    second = store(s3, found, finished)
    assert second == Remembered(
        False, f"the job {finished['ProcessingJobName']} of the same content was remembered first"
    )
    assert s3.head_object(Bucket="bucket", Key=key)["LastModified"] == first
    assert store(s3, found, finished, replace=True).stored


def test_of_many_at_once_one_is_remembered_and_readers_see_none_or_the_whole(
    s3: Any, found: Fingerprint, finished: dict[str, Any]
) -> None:
    big = Fingerprint("processing", {**found.components, **{f"argument {n}": "x" * 250 for n in range(3_000)}})
    ended = threading.Event()
    seen: list[Hit | Miss] = []

    def read() -> None:
        while not ended.is_set():
            seen.append(lookup(s3, "bucket", big))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: store(s3, big, finished), range(8)))
    finally:
        ended.set()
        reader.join()
    assert sum(answer.stored for answer in answers) == 1, answers
    assert isinstance(lookup(s3, "bucket", big), Hit)
    assert {answer.reason for answer in seen if isinstance(answer, Miss)} <= {"no job of this content is remembered"}


def test_entry_gone_stale_is_replaced_by_one_of_many(
    s3: Any, found: Fingerprint, finished: dict[str, Any], outputs: str
) -> None:
    store(s3, found, finished)
    s3.put_object(Bucket="bucket", Key=f"{outputs}a", Body=b"another")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: store(s3, found, finished), range(4)))
    assert sum(answer.stored for answer in answers) == 1, answers


def test_input_that_changed_while_the_job_ran_is_not_remembered(
    s3: Any, found: Fingerprint, key: str, finished: dict[str, Any]
) -> None:
    for after in (Fingerprint("processing", {**found.components, "more": ""}), NoFingerprint("it is gone")):
        answer = remember(s3, "bucket", found.key, after, PROCESSING, finished, BY)
        assert not answer.stored and answer.reason.startswith("not remembered: it")
    assert cache_records.read(s3, "bucket", key) is None


@pytest.mark.parametrize("status", ["Failed", "Stopped", "InProgress", "SomethingNew"])
def test_job_that_has_not_succeeded_is_not_remembered(
    s3: Any, found: Fingerprint, finished: dict[str, Any], status: str
) -> None:
    answer = store(s3, found, finished | {"ProcessingJobStatus": status})
    assert answer == Remembered(False, "not remembered: the description is not of a job that has succeeded")


def test_what_s3_refuses_fails_no_task(s3: Any, found: Fingerprint, finished: dict[str, Any]) -> None:
    miss = missed(lookup(s3, "no-such-bucket", found))
    assert miss.suspect and "NoSuchBucket" in miss.reason
    answer = remember(s3, "no-such-bucket", found.key, found, PROCESSING, finished, BY)
    assert not answer.stored and "NoSuchBucket" in answer.reason


@pytest.fixture
def document(s3: Any, found: Fingerprint, key: str, finished: dict[str, Any]) -> dict[str, Any]:
    """What was stored, as it can be spoiled."""
    store(s3, found, finished)
    return dict(json.loads(s3.get_object(Bucket="bucket", Key=key)["Body"].read()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "its format is '99'"),
        ({"key": "0" * 64}, "not those of its key"),
        ({"components": {"kind": "processing"}}, "not those of its key"),
        ({"components": []}, "components must be a mapping"),
        ({"kind": "training"}, "it is not of a processing job"),
        ({"job_name": "x" * 5000}, "job_name must be a printable string"),
        ({"job_name": "a\x1b[2J"}, "job_name must be a printable string"),
        ({"job_name": "../other"}, "is no SageMaker job"),
        ({"job_name": "another-job"}, "not of the job that is named"),
        ({"arn": "arn:aws:iam::123456789012:role/x"}, "is no SageMaker job"),
        ({"description": "x"}, "description must be a mapping"),
        ({"description": {}}, "not of the job that is named"),
        ({"outputs": []}, "outputs are not those of the description"),
        ({"outputs": [{"uri": "s3://bucket/elsewhere", "objects": 0, "digest": ""}]}, "not those of the description"),
        ({"outputs": [{"uri": "s3://bucket/x", "objects": 10**12, "digest": ""}]}, "must be a number up to"),
        ({"outputs": [None]}, "an output must be a mapping"),
        ({"written_by": {"map_index": True}}, "written_by.map_index must be a whole number"),
    ],
)
def test_spoiled_entry_is_a_suspect_miss_that_says_how(
    s3: Any, found: Fingerprint, key: str, document: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    s3.put_object(Bucket="bucket", Key=key, Body=json.dumps(document | change))
    miss = missed(lookup(s3, "bucket", found))
    assert miss.suspect and said in miss.reason


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"NaN", b'{"a": NaN}', b"[" * 500_000])
def test_object_that_is_no_entry_is_a_suspect_miss_and_makes_room(
    s3: Any, found: Fingerprint, key: str, finished: dict[str, Any], body: bytes
) -> None:
    s3.put_object(Bucket="bucket", Key=key, Body=body)
    assert missed(lookup(s3, "bucket", found)).suspect
    assert store(s3, found, finished).stored
    assert isinstance(lookup(s3, "bucket", found), Hit)


def test_huge_entry_is_not_read(s3: Any, found: Fingerprint, key: str) -> None:
    s3.put_object(Bucket="bucket", Key=key, Body=b" " * (cache_records.MAX_BYTES + 1))
    miss = missed(lookup(s3, "bucket", found))
    assert miss.suspect and "is larger than 8388608 bytes; it was not read" in miss.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=5), children, max_size=2),
    max_leaves=4,
)


def spoil(value: Any, data: st.DataObject) -> Any:
    """The value with one of its members, somewhere below, replaced."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 4)):
        name = data.draw(st.sampled_from(sorted(value)))
        return {**value, name: spoil(value[name], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 4)):
        return [spoil(value[0], data), *value[1:]]
    return data.draw(JSON)


FINISHED = {
    "ProcessingJobName": "one-prepare-0123",
    "ProcessingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:processing-job/one-prepare-0123",
    "ProcessingJobStatus": "Completed",
    "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": {"S3Uri": "s3://bucket/fuzzed/out"}}]},
}


def test_no_spoiled_entry_raises(s3: Any, found: Fingerprint, key: str) -> None:
    assert store(s3, found, FINISHED).stored
    whole = json.loads(s3.get_object(Bucket="bucket", Key=key)["Body"].read())

    @settings(max_examples=150)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        document = spoil(copy.deepcopy(whole), data)
        s3.put_object(Bucket="bucket", Key=key, Body=json.dumps(document))
        answer = lookup(s3, "bucket", found)
        assert answer.reason
        if isinstance(answer, Hit):  # the change was to something that decides nothing
            assert answer.entry.components == found.components
            assert [output.uri for output in answer.entry.outputs] == ["s3://bucket/fuzzed/out"]

    check()


@given(JSON | st.floats() | st.binary() | st.datetimes())
def test_description_is_stored_as_json_whatever_it_holds(value: Any) -> None:
    assert json.loads(json.dumps(step_cache.plain({"a": value}), allow_nan=False)) == step_cache.plain({"a": value})

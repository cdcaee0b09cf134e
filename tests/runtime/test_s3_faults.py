"""Faults of S3, dealt by a real runtime to a real boto3 client: in S3's own words, with nothing broken beside them."""

from __future__ import annotations

import io
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ResponseStreamingError

from millrace.runtime import fault_plan
from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import Delay, DropConnection, FailCall, Fault, LoseResponse, SlowBody, Throttle
from tests.runtime.jobs import Jobs
from tests.runtime.process import REGION, RuntimeProcess, until

BIG = 5 * 1024**2
"""More than is taken in or sent in one piece."""
SIZES = pytest.mark.parametrize("size", [10, BIG], ids=["small", "big"])


@pytest.fixture
def faulty(started: RuntimeProcess) -> Iterator[RuntimeProcess]:
    """A runtime whose plan and whose book of dealt faults begin and end empty, and whose log gets no complaint."""
    (started.data_dir / fault_plan.DEALT).unlink(missing_ok=True)
    before = len(log(started))
    yield started
    fault_plan.clear(started.data_dir)
    complaints = log(started)[before:]
    assert not any(word in complaints for word in ("ASGI", "Traceback", "unexpected error")), complaints


@pytest.fixture
def s3(faulty: RuntimeProcess) -> Any:
    """It tries each call once."""
    return client(faulty, attempts=1)


@pytest.fixture
def key() -> str:
    """A key without an object."""
    return f"{uuid.uuid4().hex}/object"


def client(runtime: RuntimeProcess, attempts: int) -> Any:
    return boto3.client(
        "s3", endpoint_url=runtime.url, region_name=REGION, aws_access_key_id="any", aws_secret_access_key="any",
        config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
    )  # fmt: skip


def log(runtime: RuntimeProcess) -> str:
    return (runtime.data_dir / "control.log").read_text()


def befall(runtime: RuntimeProcess, fault: Fault, operation: str, **rule: Any) -> None:
    fault_plan.write(runtime.data_dir, [Rule(fault, operation=operation, **{"times": 1, **rule})])


def dealt(runtime: RuntimeProcess) -> list[tuple[str, str, str]]:
    return [(line.fault, line.operation, line.name) for line in fault_plan.dealt(runtime.data_dir)]


def content(s3: Any, key: str) -> bytes | None:
    """An object's bytes; None when there is no object."""
    try:
        return bytes(s3.get_object(Bucket="bucket", Key=key)["Body"].read())
    except s3.exceptions.NoSuchKey:
        return None


class TestRefusals:
    @pytest.mark.parametrize(
        ("fault", "code", "status"), [(Throttle(), "SlowDown", 503), (FailCall(), "InternalError", 500)]
    )
    @SIZES
    def test_call_is_refused_in_s3s_words_and_not_carried_out(
        self, faulty: RuntimeProcess, s3: Any, key: str, fault: Fault, code: str, status: int, size: int
    ) -> None:
        befall(faulty, fault, "PutObject")
        with pytest.raises(ClientError) as caught:
            s3.put_object(Bucket="bucket", Key=key, Body=io.BytesIO(b"x" * size))  # of a file botocore waits for a 100
        response: dict[str, Any] = {**caught.value.response}
        assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
        assert (response["Error"]["BucketName"], response["Error"]["Key"]) == ("bucket", key)
        assert response["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/xml"
        assert content(s3, key) is None
        assert dealt(faulty) == [(fault.word, "PutObject", f"bucket/{key}")]

    @SIZES
    def test_clients_own_retries_see_slow_down_and_go_on(self, faulty: RuntimeProcess, key: str, size: int) -> None:
        befall(faulty, Throttle(), "PutObject", times=2)
        patient = client(faulty, attempts=3)
        body = os.urandom(size)
        answer = patient.put_object(Bucket="bucket", Key=key, Body=body)
        assert answer["ResponseMetadata"]["RetryAttempts"] == 2
        assert content(patient, key) == body

    @pytest.mark.parametrize("operation", ["HeadObject", "ListObjectsV2", "ListBuckets", "DeleteObject", "CopyObject"])
    def test_every_operation_can_be_throttled(self, faulty: RuntimeProcess, s3: Any, key: str, operation: str) -> None:
        s3.put_object(Bucket="bucket", Key=key, Body=b"")
        calls = {
            "HeadObject": lambda: s3.head_object(Bucket="bucket", Key=key),
            "ListObjectsV2": lambda: s3.list_objects_v2(Bucket="bucket", Prefix=key),
            "ListBuckets": lambda: s3.list_buckets(),
            "DeleteObject": lambda: s3.delete_object(Bucket="bucket", Key=key),
            "CopyObject": lambda: s3.copy_object(Bucket="bucket", Key=key, CopySource=f"bucket/{key}-other"),
        }
        befall(faulty, Throttle(), operation, name="*" if operation == "ListBuckets" else f"bucket/{key}")
        with pytest.raises(ClientError) as caught:
            calls[operation]()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert dealt(faulty) == [("throttle", operation, "" if operation == "ListBuckets" else f"bucket/{key}")]

    def test_rule_by_bucket_and_key_spares_the_others(self, faulty: RuntimeProcess, s3: Any, key: str) -> None:
        befall(faulty, Throttle(), "s3:*", name="bucket/*.tar.gz", seconds=60, times=None)
        s3.put_object(Bucket="bucket", Key=key, Body=b"")
        Jobs(faulty).sagemaker.list_processing_jobs()
        with pytest.raises(ClientError, match="SlowDown"):
            s3.put_object(Bucket="bucket", Key=f"{'long/' * 60}model.tar.gz", Body=b"")

    def test_plan_that_was_spoilt_by_hand_leaves_the_last_good_one_in_force(
        self, faulty: RuntimeProcess, s3: Any, key: str
    ) -> None:
        befall(faulty, Throttle(), "PutObject", times=2)
        for text in (None, '[{"fault": "slow_body", "bytes_per_second": 0, "times": 1}]'):
            if text:
                (faulty.data_dir / fault_plan.PLAN).write_text(text)
            with pytest.raises(ClientError, match="SlowDown"):
                s3.put_object(Bucket="bucket", Key=key, Body=b"")
        s3.put_object(Bucket="bucket", Key=key, Body=b"")
        told = "rule 1 of the plan: slow_body needs bytes_per_second above 0; the 1 rules of the last good plan stay"
        assert told in log(faulty)

    def test_presigned_url_is_refused_like_a_signed_call(self, faulty: RuntimeProcess, s3: Any, key: str) -> None:
        s3.put_object(Bucket="bucket", Key=key, Body=b"here")
        url = s3.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": key})
        befall(faulty, Throttle(), "GetObject")
        assert urllib3.request("GET", url, retries=False).status == 503
        assert urllib3.request("GET", url, retries=False).data == b"here"

    def test_client_that_waits_for_continue_is_told_that_its_connection_is_closed(
        self, faulty: RuntimeProcess, s3: Any, key: str
    ) -> None:
        befall(faulty, Throttle(), "PutObject")
        with urllib3.HTTPConnectionPool("127.0.0.1", faulty.port) as pool:
            answer = pool.request("PUT", f"/bucket/{key}", body=b"", headers={"Expect": "100-continue"}, retries=False)
        assert answer.status == 503
        assert answer.headers["connection"] == "close"


class TestLostAnswers:
    @SIZES
    def test_object_is_there_although_nobody_was_told(
        self, faulty: RuntimeProcess, s3: Any, key: str, size: int
    ) -> None:
        body = os.urandom(size)
        befall(faulty, LoseResponse(), "PutObject")
        with pytest.raises(ConnectionClosedError):
            s3.put_object(Bucket="bucket", Key=key, Body=body)
        assert content(s3, key) == body

    def test_object_is_there_after_a_kill(self, own_runtime: RuntimeProcess) -> None:
        befall(own_runtime, LoseResponse(), "PutObject")
        s3 = client(own_runtime, attempts=1)
        s3.create_bucket(Bucket="bucket")
        with pytest.raises(ConnectionClosedError):
            s3.put_object(Bucket="bucket", Key="key", Body=b"durable")
        own_runtime.kill()
        own_runtime.start()
        assert content(s3, "key") == b"durable"

    def test_upload_that_was_completed_unheard_is_completed(self, faulty: RuntimeProcess, s3: Any, key: str) -> None:
        place = {"Bucket": "bucket", "Key": key}
        upload = {**place, "UploadId": s3.create_multipart_upload(**place)["UploadId"]}
        befall(faulty, Throttle(), "UploadPart")
        with pytest.raises(ClientError, match="SlowDown"):
            s3.upload_part(**upload, PartNumber=1, Body=b"part")
        part = {"PartNumber": 1, "ETag": s3.upload_part(**upload, PartNumber=1, Body=b"part")["ETag"]}
        befall(faulty, LoseResponse(), "CompleteMultipartUpload")
        with pytest.raises(ConnectionClosedError):
            s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]})
        assert content(s3, key) == b"part"

    @SIZES
    def test_answer_to_a_read_is_lost_and_the_client_reads_again(
        self, faulty: RuntimeProcess, s3: Any, key: str, size: int
    ) -> None:
        s3.put_object(Bucket="bucket", Key=key, Body=b"x" * size)
        befall(faulty, LoseResponse(), "GetObject")
        assert content(client(faulty, attempts=2), key) == b"x" * size
        assert len(dealt(faulty)) == 1


class TestDroppedConnections:
    @pytest.mark.parametrize(
        "fault", [DropConnection(), DropConnection(after_bytes=100_000)], ids=["at_once", "midway"]
    )
    @SIZES
    def test_upload_that_is_cut_off_leaves_nothing(
        self, faulty: RuntimeProcess, s3: Any, key: str, fault: Fault, size: int
    ) -> None:
        befall(faulty, fault, "PutObject")
        with pytest.raises(ConnectionClosedError):
            s3.put_object(Bucket="bucket", Key=key, Body=b"x" * size)
        assert content(s3, key) is None
        assert s3.list_objects_v2(Bucket="bucket", Prefix=key)["KeyCount"] == 0

    def test_upload_that_is_cut_off_is_repeated_by_the_client(self, faulty: RuntimeProcess, key: str) -> None:
        befall(faulty, DropConnection(after_bytes=100_000), "PutObject")
        patient = client(faulty, attempts=2)
        patient.put_object(Bucket="bucket", Key=key, Body=b"x" * BIG)
        assert content(patient, key) == b"x" * BIG

    @pytest.mark.parametrize(("size", "come"), [(1, None), (10, 9), (BIG, 100_000)])
    def test_download_breaks_after_its_bytes_and_always_before_its_end(
        self, faulty: RuntimeProcess, s3: Any, key: str, size: int, come: int | None
    ) -> None:
        s3.put_object(Bucket="bucket", Key=key, Body=b"x" * size)
        befall(faulty, DropConnection(after_bytes=100_000), "GetObject")
        if come is None:  # nothing may pass, not even the headers
            with pytest.raises(ConnectionClosedError):
                content(s3, key)
        else:
            with pytest.raises(ResponseStreamingError, match=rf"{come} bytes read, {size - come} more expected"):
                content(s3, key)
        assert content(s3, key) == b"x" * size

    def test_download_to_a_file_goes_on_where_boto3_retries_it(
        self, faulty: RuntimeProcess, s3: Any, key: str, tmp_path: Path
    ) -> None:
        body = os.urandom(BIG)
        s3.put_object(Bucket="bucket", Key=key, Body=body)
        befall(faulty, DropConnection(after_bytes=100_000), "GetObject", times=2)
        s3.download_file("bucket", key, str(tmp_path / "file"))
        assert (tmp_path / "file").read_bytes() == body
        assert len(dealt(faulty)) == 2


class TestSlowness:
    @pytest.mark.parametrize("size", [50_000, BIG], ids=["small", "big"])
    def test_object_trickles_in_and_out_for_as_long_as_it_must(
        self, faulty: RuntimeProcess, s3: Any, key: str, size: int
    ) -> None:
        body = os.urandom(size)
        befall(faulty, SlowBody(bytes_per_second=size), "*", times=2)
        began = time.monotonic()
        s3.put_object(Bucket="bucket", Key=key, Body=body)
        written = time.monotonic()
        assert content(s3, key) == body
        read = time.monotonic()
        assert 1 <= written - began < 3
        assert 1 <= read - written < 3
        assert dealt(faulty) == [("slow_body", f"{verb}Object", f"bucket/{key}") for verb in ("Put", "Get")]

    def test_range_of_an_object_takes_as_long_as_the_range(self, faulty: RuntimeProcess, s3: Any, key: str) -> None:
        s3.put_object(Bucket="bucket", Key=key, Body=os.urandom(BIG))
        befall(faulty, SlowBody(bytes_per_second=100_000), "GetObject")
        began = time.monotonic()
        part = s3.get_object(Bucket="bucket", Key=key, Range="bytes=1-50000")["Body"].read()
        assert len(part) == 50_000
        assert 0.5 <= time.monotonic() - began < 1.5

    def test_others_are_served_meanwhile(self, faulty: RuntimeProcess, s3: Any, key: str) -> None:
        s3.put_object(Bucket="bucket", Key=key, Body=b"x" * BIG)
        befall(faulty, SlowBody(bytes_per_second=BIG / 2), "GetObject")
        slow = threading.Thread(target=content, args=(client(faulty, attempts=1), key))
        slow.start()
        until(lambda: dealt(faulty), 10, "the slowness")
        assert content(s3, key) == b"x" * BIG
        assert slow.is_alive()
        slow.join()

    def test_client_that_gives_up_is_not_waited_for(self, faulty: RuntimeProcess, s3: Any, key: str) -> None:
        s3.put_object(Bucket="bucket", Key=key, Body=b"x" * BIG)
        befall(faulty, SlowBody(bytes_per_second=100_000), "GetObject")
        body = s3.get_object(Bucket="bucket", Key=key)["Body"]
        body.read(10)
        assert open_objects(faulty) == 1
        body.close()
        until(lambda: not open_objects(faulty), 5, "the end of the reading")

    @pytest.mark.parametrize(
        ("delay", "there_meanwhile"),
        [(Delay(before_seconds=1), False), (Delay(after_seconds=1), True)],
        ids=["before", "after"],
    )
    def test_late_answer_comes_after_its_wait(
        self, faulty: RuntimeProcess, s3: Any, key: str, delay: Delay, there_meanwhile: bool
    ) -> None:
        befall(faulty, delay, "PutObject")
        began = time.monotonic()
        putting = threading.Thread(
            target=client(faulty, attempts=1).put_object, kwargs={"Bucket": "bucket", "Key": key, "Body": b"late"}
        )
        putting.start()
        until(lambda: dealt(faulty), 10, "the delay")
        time.sleep(0.4)
        assert (content(s3, key) is not None) is there_meanwhile
        putting.join()
        assert time.monotonic() - began >= 1
        assert content(s3, key) == b"late"


class TestJobs:
    def test_job_meets_them_over_http_and_the_runtimes_own_staging_does_not(
        self, faulty: RuntimeProcess, s3: Any
    ) -> None:
        jobs = Jobs(faulty)
        reads = "\n".join(
            (
                "import boto3, os",
                "s3 = boto3.client('s3', config=boto3.session.Config(retries={'total_max_attempts': 1}))",
                "try: s3.get_object(Bucket='bucket', Key='wanted')",
                "except s3.exceptions.ClientError as error: print(error.response['Error']['Code'])",
                "print(open(os.environ['SM_CHANNEL_TRAIN'] + '/wanted').read())",
            )
        )
        s3.put_object(Bucket="bucket", Key="wanted", Body=b"staged")
        befall(faulty, Throttle(), "GetObject", name="bucket/wanted", times=9)
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/wanted"}}
        name = jobs.training(reads, InputDataConfig=[{"ChannelName": "train", "DataSource": source}])
        assert jobs.end("training", name)["TrainingJobStatus"] == "Completed"
        assert jobs.lines("training", name)[-2:] == ["SlowDown", "staged"]
        assert dealt(faulty) == [("throttle", "GetObject", "bucket/wanted")]


def open_objects(runtime: RuntimeProcess) -> int:
    """How many objects' files the control plane holds open."""
    (control,) = runtime.find("millrace.runtime.control")
    return sum("/s3/objects/" in file.path for file in control.open_files())

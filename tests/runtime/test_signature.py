"""Signatures: AWS's published examples, botocore's signer over odd requests, and a runtime that verifies what it is sent."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.runtime import signature
from millrace.runtime.authenticator import CODES
from millrace.runtime.s3.chunked import ChunkedDecoder
from millrace.runtime.s3.errors import S3Error
from millrace.runtime.s3.payload import SignedChunks
from millrace.runtime.signature import Refused
from tests.runtime.process import REGION
from tests.runtime.signed import SECRETS, SignedRuntime, fetch, refusal, running

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEY = "AKIDEXAMPLE"
EXAMPLE = {"timestamp": "20130524T000000Z", "scope": "20130524/us-east-1/s3/aws4_request"}
EXAMPLE_KEY = signature.signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3")

SEGMENT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8) | st.sampled_from(
    [".", "..", "", "a+b", "~x", "100%", "a%2Fb", "ü", "a b", "*", "'(!)'", "=&?#", "@:;,$"]
)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


def scope_of(request: AWSRequest) -> dict[str, Any]:
    """A signed request as the server hands it on."""
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    headers = {name.lower(): value for name, value in request.headers.items()} | {"host": parts.netloc}
    return {
        "type": "http", "method": prepared.method, "path": parts.path, "raw_path": (parts.path or "/").encode(),
        "query_string": parts.query.encode(),
        "headers": [(name.encode(), str(value).encode("latin-1")) for name, value in headers.items()],
    }  # fmt: skip


def check(scope: Mapping[str, Any], secret: str, payload: str) -> None:
    signature.verify(signature.read(dict(scope)), secret, payload)


@settings(max_examples=150, deadline=None)
@given(
    service=st.sampled_from(["s3", "sagemaker"]),
    method=st.sampled_from(["GET", "PUT", "POST"]),
    segments=st.lists(SEGMENT, max_size=4),
    query=st.lists(st.tuples(TEXT, TEXT), max_size=4),
    metadata=VALUE,
    body=st.binary(max_size=30),
    strict=st.booleans(),
)
def test_what_botocore_signs_is_verified_and_nothing_else(
    service: str,
    method: str,
    segments: list[str],
    query: list[tuple[str, str]],
    metadata: str,
    body: bytes,
    strict: bool,
) -> None:
    safe = "" if strict else "~!*'()@:;,$"
    path = "/" + "/".join(quote(segment, safe=safe) for segment in segments)
    string = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    request = AWSRequest(
        method, f"http://127.0.0.1:4580{path}" + (f"?{string}" if string else ""), {"x-amz-meta-odd": metadata}, body
    )
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(Credentials(KEY, SECRET), service, "eu-west-1")
    signer.add_auth(request)
    scope, payload = scope_of(request), hashlib.sha256(body).hexdigest()
    check(scope, SECRET, payload)
    others: list[tuple[Mapping[str, Any], str, str]] = [
        (scope, SECRET + "x", payload),
        (scope, SECRET, hashlib.sha256(body + b"x").hexdigest()),
        ({**scope, "method": "DELETE"}, SECRET, payload),
        ({**scope, "raw_path": scope["raw_path"] + b"x"}, SECRET, payload),
        ({**scope, "query_string": scope["query_string"] + b"&acl"}, SECRET, payload),
        ({**scope, "headers": [(n, v + b"x" if n == b"x-amz-meta-odd" else v) for n, v in scope["headers"]]},
         SECRET, payload),
    ]  # fmt: skip
    for other in others:
        with pytest.raises(Refused) as refused:
            check(*other)
        assert refused.value.reason == "wrong"


@settings(max_examples=50, deadline=None)
@given(segments=st.lists(SEGMENT, max_size=4), name=TEXT, value=TEXT)
def test_what_botocore_presigns_is_verified_and_not_once_it_is_changed(
    segments: list[str], name: str, value: str
) -> None:
    path = "/".join(quote(segment, safe="~") for segment in segments)
    url = f"http://127.0.0.1:4580/{path}?q{quote(name, safe='')}={quote(value, safe='')}"
    request = AWSRequest("GET", url)
    S3SigV4QueryAuth(Credentials(KEY, SECRET), "s3", REGION, 60).add_auth(request)
    scope = scope_of(request)
    check(scope, SECRET, "UNSIGNED-PAYLOAD")
    changed = scope["query_string"].replace(b"X-Amz-Expires=60", b"X-Amz-Expires=61")
    for other in ({**scope, "query_string": changed}, {**scope, "raw_path": scope["raw_path"] + b"x"}):
        with pytest.raises(Refused):
            check(other, SECRET, "UNSIGNED-PAYLOAD")


def test_clients_that_escape_other_characters_than_botocore_are_verified() -> None:
    """The signature is over AWS's own escapes, whatever was sent: `!` and `%7e` here, and a plus for a space."""
    signed = AWSRequest("GET", "http://127.0.0.1/a%21~?k%20y=v%20w")
    S3SigV4Auth(Credentials(KEY, SECRET), "s3", REGION).add_auth(signed)
    sent = {**scope_of(signed), "raw_path": b"/a!%7e", "query_string": b"k+y=v+w"}
    check(sent, SECRET, hashlib.sha256().hexdigest())


def test_every_reason_to_refuse_has_a_code_in_every_form() -> None:
    assert set(CODES) == set(get_args(signature.Reason))
    assert all(set(codes) == {"s3", "json", "query"} for codes in CODES.values())


def example_chunks(trailing: bool) -> tuple[SignedChunks, bytes]:
    """AWS's published examples of an upload in three chunks, without and with a trailing checksum."""
    seed, signatures = {
        False: (
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            ("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
             "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
             "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ),
        True: (
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            ("b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
             "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
             "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
        ),
    }[trailing]  # fmt: skip
    body = b""
    for size, signed in zip((65536, 1024, 0), signatures, strict=True):
        body += f"{size:x};chunk-signature={signed}\r\n".encode() + b"a" * size + b"\r\n" * bool(size)
    if trailing:
        body += b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
        body += b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
    return SignedChunks(EXAMPLE_KEY, EXAMPLE["timestamp"], EXAMPLE["scope"], seed, trailing), body + b"\r\n"


def decode(signed: SignedChunks, body: bytes, step: int = 1000) -> bytes:
    decoder = ChunkedDecoder(signed)
    pieces = [bytes(piece) for at in range(0, len(body), step) for piece in decoder.feed(body[at : at + step])]
    decoder.finish()
    return b"".join(pieces)


@pytest.mark.parametrize("trailing", [False, True])
def test_signed_chunks_are_those_of_awss_examples(trailing: bool) -> None:
    signed, body = example_chunks(trailing)
    assert decode(signed, body) == b"a" * 66560


LAST = b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n"


@pytest.mark.parametrize(
    ("trailing", "old", "new"),
    [
        (False, b"aaaa\r\n400;", b"aaab\r\n400;"),
        (False, b"400;chunk-signature=", b"400;chunk-signatur="),
        (False, b";chunk-signature=0", b";chunk-signature=1"),
        (False, b"\r\n0;", b"\r\n0;x"),
        (False, LAST, LAST + b"x-amz-added:trailer\r\n"),
        (True, b"aaaa\r\n400;", b"aaab\r\n400;"),
        (True, b"sOO8/Q==", b"sOO8/R=="),
        (True, b"x-amz-trailer-signature", b"x-amz-trailer-signaturf"),
        (True, b"x-amz-trailer-signature:d", b"x-amz-trailer-signature:e"),
    ],
)
def test_a_chunk_or_trailer_that_is_not_what_was_signed_is_refused(trailing: bool, old: bytes, new: bytes) -> None:
    signed, body = example_chunks(trailing)
    assert old in body
    with pytest.raises(S3Error) as error:
        decode(signed, body.replace(old, new))
    assert error.value.code == "SignatureDoesNotMatch"


# On the wire.


@pytest.fixture(scope="module")
def signed_runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedRuntime]:
    with running(tmp_path_factory.mktemp("signed")) as runtime:
        yield runtime


def send(
    runtime: SignedRuntime, request: AWSRequest, signer: type[SigV4Auth] = SigV4Auth, service: str = "sagemaker",
    *, key: str = "admin", body: bytes | None = None, over: http.client.HTTPConnection | None = None, **headers: str,
) -> tuple[int, str]:  # fmt: skip
    """Sign a request with botocore and send it, with another body or with headers that were not signed."""
    signer(Credentials(key, SECRETS[key]), service, REGION).add_auth(request)
    connection = over or http.client.HTTPConnection("127.0.0.1", runtime.port, timeout=20)
    method, parts = str(request.method), urlsplit(str(request.url))
    content = request.data if body is None else body
    connection.request(
        method, parts.path + (f"?{parts.query}" if parts.query else ""), content,
        dict(request.headers.items()) | {name.replace("_", "-"): value for name, value in headers.items()},
    )  # fmt: skip
    answer = connection.getresponse()
    text = answer.read().decode()
    if over is None:
        connection.close()
    return answer.status, text


@pytest.mark.parametrize(
    ("service", "call", "unknown"),
    [
        ("s3", lambda c: c.list_buckets(), "InvalidAccessKeyId"),
        ("sagemaker", lambda c: c.list_models(), "UnrecognizedClientException"),
        ("logs", lambda c: c.describe_log_groups(logGroupNamePrefix="/aws/sagemaker/"), "UnrecognizedClientException"),
        ("sts", lambda c: c.get_caller_identity(), "InvalidClientTokenId"),
        ("cloudwatch", lambda c: c.list_metrics(), "UnrecognizedClientException"),
    ],
)
def test_a_right_key_is_served_and_a_wrong_or_unknown_one_is_not(
    signed_runtime: SignedRuntime, service: str, call: Any, unknown: str
) -> None:
    call(signed_runtime.client(service))
    wrong = signed_runtime.client(service, secret="x" * 40)
    assert refusal(lambda: call(wrong)) == ("SignatureDoesNotMatch", 403)
    stranger = signed_runtime.client(service, "nobody", "x" * 40)
    assert refusal(lambda: call(stranger)) == (unknown, 403)


def test_odd_keys_headers_and_queries_arrive_whole(signed_runtime: SignedRuntime) -> None:
    s3 = signed_runtime.client("s3")
    for key in ("a b+c&d=e?f#g", "ü/ä//..~", "100%25/'(x)'!*", "./a/../b", "trailing/"):
        s3.put_object(Bucket="bucket", Key=key, Body=key.encode(), Metadata={"odd": "a   b  c"}, ContentType="a/b; c=d")
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == key.encode()
        listed = s3.list_objects_v2(Bucket="bucket", Prefix=key, StartAfter="", Delimiter="+")
        assert listed["KeyCount"] == 1
        s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": key}]})


@pytest.mark.parametrize("size", [100, 3 * 1024 * 1024])
def test_a_body_that_is_not_the_signed_one_is_not_stored(signed_runtime: SignedRuntime, size: int) -> None:
    request = AWSRequest("PUT", f"{signed_runtime.url}/bucket/tampered", data=b"a" * size)
    status, text = send(signed_runtime, request, S3SigV4Auth, "s3", body=b"b" * size)
    assert (status, "XAmzContentSHA256Mismatch" in text) == (400, True)
    s3 = signed_runtime.client("s3")
    assert refusal(lambda: s3.head_object(Bucket="bucket", Key="tampered"))[1] == 404
    part = {"Bucket": "bucket", "Key": "tampered", "UploadId": s3.create_multipart_upload(
        Bucket="bucket", Key="tampered")["UploadId"]}  # fmt: skip
    url = f"{signed_runtime.url}/bucket/tampered?partNumber=1&uploadId={part['UploadId']}"
    assert send(signed_runtime, AWSRequest("PUT", url, data=b"a" * size), S3SigV4Auth, "s3", body=b"b" * size)[0] == 400
    assert "Parts" not in s3.list_parts(**part)


def test_a_document_of_s3_that_is_not_the_signed_one_deletes_nothing(signed_runtime: SignedRuntime) -> None:
    said = b"<Delete><Object><Key>in/x.txt</Key></Object></Delete>"
    request = AWSRequest("POST", f"{signed_runtime.url}/bucket?delete", data=said)
    status, text = send(signed_runtime, request, S3SigV4Auth, "s3", body=said.replace(b"x.txt", b"a.txt"))
    assert (status, "XAmzContentSHA256Mismatch" in text) == (400, True)
    assert signed_runtime.client("s3").head_object(Bucket="bucket", Key="in/a.txt")


def test_a_call_is_not_replayed_with_another_body(signed_runtime: SignedRuntime) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}

    def listing() -> AWSRequest:
        return AWSRequest("POST", f"{signed_runtime.url}/", headers, b"{}")

    assert send(signed_runtime, listing())[0] == 200
    status, text = send(signed_runtime, listing(), body=b'{"MaxResults": 1}')
    assert (status, json.loads(text)["__type"]) == (403, "SignatureDoesNotMatch")
    # A signature for another service is none for this one, whatever the key may do.
    status, text = send(signed_runtime, listing(), S3SigV4Auth, "s3")
    assert (status, json.loads(text)["__type"]) == (400, "IncompleteSignatureException")


def test_a_header_that_was_not_signed_does_not_turn_a_call_into_another(signed_runtime: SignedRuntime) -> None:
    request = AWSRequest("PUT", f"{signed_runtime.url}/bucket/in/copied", data=b"")
    status, text = send(signed_runtime, request, S3SigV4Auth, "s3", x_amz_copy_source="bucket/secret/b.txt")
    assert status == 403
    assert "x-amz-copy-source" in text
    request = AWSRequest("GET", f"{signed_runtime.url}/")
    assert send(signed_runtime, request, x_amz_target="SageMaker.ListModels")[0] == 403


def test_the_clock_may_be_a_quarter_of_an_hour_off(
    signed_runtime: SignedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minutes, code in ((-14, None), (14, None), (-16, "RequestTimeTooSkewed"), (16, "RequestTimeTooSkewed")):
        moment = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=minutes)
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda moment=moment: moment)
        for service, call in (("s3", "list_buckets"), ("sagemaker", "list_models")):
            client = signed_runtime.client(service)
            if code is None:
                getattr(client, call)()
            else:
                assert refusal(getattr(client, call)) == (code, 403)


def test_presigned_urls_are_good_for_what_they_say_and_for_as_long(signed_runtime: SignedRuntime) -> None:
    s3 = signed_runtime.client("s3", signature_version="s3v4")

    def url(operation: str, key: str, seconds: int = 60) -> str:
        return str(s3.generate_presigned_url(operation, {"Bucket": "bucket", "Key": key}, ExpiresIn=seconds))

    assert fetch(url("get_object", "in/a.txt")) == (200, "in")
    put = url("put_object", "presigned")
    assert fetch(put, "PUT", b"content")[0] == 200
    assert fetch(url("get_object", "presigned")) == (200, "content")
    assert fetch(put)[0] == 403  # another method
    status, text = fetch(url("get_object", "in/a.txt").replace("in/a.txt", "secret/b.txt"))
    assert (status, "SignatureDoesNotMatch" in text) == (403, True)
    longer = url("get_object", "in/a.txt", 1)
    time.sleep(2.1)
    status, text = fetch(longer)
    assert (status, "Request has expired" in text) == (403, True)
    assert fetch(longer.replace("X-Amz-Expires=1&", "X-Amz-Expires=600&"))[0] == 403
    old = signed_runtime.client("s3", signature_version="s3").generate_presigned_url(
        "get_object", {"Bucket": "bucket", "Key": "in/a.txt"}
    )
    status, text = fetch(old)
    assert (status, "signature version 2 is not supported" in text) == (400, True)


@pytest.mark.parametrize(
    ("path", "method", "said"),
    [
        ("/bucket/in/a.txt", "GET", "AccessDenied"),
        ("/", "GET", "AccessDenied"),
        ("/endpoints/any/invocations", "POST", "MissingAuthenticationTokenException"),
        ("/console", "GET", "--credentials"),
    ],
)
def test_what_is_not_signed_is_not_served(signed_runtime: SignedRuntime, path: str, method: str, said: str) -> None:
    status, text = fetch(signed_runtime.url + path, method, b"{}" if method == "POST" else None)
    assert (status, said in text) == (403, True)


def test_a_kept_connection_is_verified_in_whichever_process_a_request_ends(signed_runtime: SignedRuntime) -> None:
    """A request that one process passes on to the other arrives as it was signed, and is verified there."""
    url = signed_runtime.url
    for first in (0, 1):
        connection = http.client.HTTPConnection("127.0.0.1", signed_runtime.port, timeout=20)
        for turn in range(4):
            if (turn + first) % 2:
                put = AWSRequest("PUT", f"{url}/bucket/out/kept%20%C3%BC%2Bx", data=b"kept")
                assert send(signed_runtime, put, S3SigV4Auth, "s3", over=connection)[0] == 200
                put = AWSRequest("PUT", f"{url}/bucket/out/kept", data=b"kept")
                assert send(signed_runtime, put, S3SigV4Auth, "s3", body=b"tapk", over=connection)[0] == 400
            else:
                invoke = AWSRequest("POST", f"{url}/endpoints/none/invocations", data=b"x")
                status, text = send(signed_runtime, invoke, over=connection)
                assert (status, "Endpoint none" in text) == (400, True)
                invoke = AWSRequest("POST", f"{url}/endpoints/none/invocations", data=b"x")
                status, text = send(signed_runtime, invoke, body=b"y", over=connection)
                assert (status, "SignatureDoesNotMatch" in text) == (403, True)
            if connection.sock is None:
                break
        connection.close()


@pytest.mark.parametrize(
    ("age", "expires", "reason"),
    [
        (899, None, None), (901, None, "skewed"), (-899, None, None), (-901, None, "skewed"),
        (1799, 1800, None), (1801, 1800, "expired"), (-899, 1800, None), (-901, 1800, "skewed"),
    ],
)  # fmt: skip
def test_the_time_of_a_signature(age: float, expires: int | None, reason: str | None) -> None:
    request = AWSRequest("GET", "http://127.0.0.1:4580/bucket")
    credentials = Credentials(KEY, SECRET)
    signer = (
        S3SigV4Auth(credentials, "s3", REGION)
        if expires is None
        else S3SigV4QueryAuth(credentials, "s3", REGION, expires)
    )
    signer.add_auth(request)
    signed = signature.read(scope_of(request))
    moment = datetime.strptime(signed.timestamp, signature.TIMESTAMP).replace(tzinfo=UTC).timestamp()
    if reason is None:
        signature.check_time(signed, moment + age)
    else:
        with pytest.raises(Refused) as refused:
            signature.check_time(signed, moment + age)
        assert refused.value.reason == reason


ODD = st.sampled_from(
    ["", "x", "Credential=a/20260101/r/s3/aws4_request", "AWS4-HMAC-SHA256", ",", "=", "\xff", "é/", "0" * 64]
)


@given(
    authorization=st.lists(ODD, max_size=6).map(" ".join) | st.none(),
    query=st.dictionaries(
        st.sampled_from(["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Content-Sha256"]),
        ODD | st.sampled_from(["AWS4-HMAC-SHA256", "20260101T000000Z", "60", "host", "-1", "9" * 30]),
    ),
    date=ODD | st.sampled_from(["Thu, 01 Jan 0001 00:00:00 +2359", "20260101T000000Z"]),
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_sent_is_refused_and_breaks_nothing(
    authorization: str | None, query: dict[str, str], date: str
) -> None:
    headers = [(b"host", b"h"), (b"date", date.encode())]
    headers += [] if authorization is None else [(b"authorization", authorization.encode())]
    string = "&".join(f"X-Amz-{name}={quote(value)}" for name, value in query.items()).encode()
    scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": string, "headers": headers}
    with pytest.raises(Refused):
        check(scope, SECRET, "UNSIGNED-PAYLOAD")


def test_the_runtimes_health_is_told_to_anyone(signed_runtime: SignedRuntime) -> None:
    assert fetch(f"{signed_runtime.url}/health")[0] == 200


def test_a_body_larger_than_any_call_takes_is_refused_whoever_signed_it(signed_runtime: SignedRuntime) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    request = AWSRequest("POST", f"{signed_runtime.url}/", headers, b" " * (17 * 1024 * 1024))
    status, text = send(signed_runtime, request)
    assert (status, json.loads(text)["__type"]) == (413, "RequestEntityTooLargeException")


def test_signed_chunks_are_taken_in_and_changed_ones_are_not(signed_runtime: SignedRuntime) -> None:
    """What the SDKs for Java and Go send over plain HTTP."""
    for content, sent in ((b"abc" * 500_000, b"abc"), (b"abc" * 500_000, b"abd")):
        request = AWSRequest("PUT", f"{signed_runtime.url}/bucket/chunked", {"X-Amz-Decoded-Content-Length": "1500000"})
        Streaming(Credentials("admin", SECRETS["admin"]), "s3", REGION).add_auth(request)
        head = signature.read(scope_of(request))
        key = signature.signing_key(SECRETS["admin"], head.timestamp[:8], REGION, "s3")
        body, previous = b"", head.signature
        for part in (content[:1_000_000], content[1_000_000:], b""):
            digest = f"{hashlib.sha256().hexdigest()}\n{hashlib.sha256(part).hexdigest()}"
            previous = signature.sign(
                key, f"AWS4-HMAC-SHA256-PAYLOAD\n{head.timestamp}\n{head.scope}\n{previous}\n{digest}"
            )
            body += f"{len(part):x};chunk-signature={previous}\r\n".encode() + part + b"\r\n"
        connection = http.client.HTTPConnection("127.0.0.1", signed_runtime.port, timeout=20)
        connection.request("PUT", "/bucket/chunked", body.replace(b"abc", sent), dict(request.headers.items()))
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert (answer.status, text) == (200, "") if sent == b"abc" else "SignatureDoesNotMatch" in text
    assert signed_runtime.client("s3").get_object(Bucket="bucket", Key="chunked")["Body"].read() == b"abc" * 500_000


class Streaming(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

"""The step cache: jobs that succeeded, remembered in S3 by their fingerprint, and found again while their outputs are there.

An entry is `cache/entries/<key>.json`, written once: of two runs that finish the same step at once the first is remembered,
and the other keeps its own result. An entry is only as good as what it points to, so every look lists the outputs again.

Whoever may write below `cache/` of the bucket decides what a hit hands on; the deployments of one bucket trust each other.

What it does not do: it copies no output, deletes nothing (a lifecycle rule of the bucket may, at any time), and fails no
task: what S3 refuses is a miss, or not remembered, and said.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from . import cache_records
from .cache_records import RecordError
from .fingerprint import Fingerprint, NoFingerprint, key_of
from .kinds import KINDS, JobKind, Outcome
from .listing import ListingError, list_folder
from .names import TaskIdentity

FORMAT = 1
ENTRIES = "cache/entries/"
MAX_OUTPUTS, MAX_OUTPUT_OBJECTS = 100, 100_000
JOB_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:[a-z0-9-]{0,32}:\d{12}:[a-z-]{1,32}/[a-zA-Z0-9-]{1,63}")
NOT_STORED = frozenset(
    {"Environment", "ResponseMetadata", "RoleArn", "VpcConfig", "KmsKeyId", "VolumeKmsKeyId", "OutputKmsKeyId"}
)
"""Of a Describe answer, at any depth: what may hold a secret, or says only how the job was let in."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a job left below one URI."""

    uri: str
    objects: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A job that succeeded, with what it was and what it left.

    Raises:
        RecordError: the parts do not fit together.
    """

    kind: str
    components: Mapping[str, str]
    job_name: str
    arn: str
    description: Mapping[str, Any]
    """The Describe answer without times, variables and rights: what a harvest reads."""
    outputs: tuple[Output, ...]
    written_by: TaskIdentity
    written_at: str
    """For people; nothing is decided by it."""

    def __post_init__(self) -> None:
        kind = KINDS.get(self.kind)
        if kind is None:
            raise RecordError(f"kind is {self.kind!r}; it must be one of {', '.join(KINDS)}")
        if not JOB_NAME.fullmatch(self.job_name) or not ARN.fullmatch(self.arn):
            raise RecordError(f"{self.job_name!r} with the ARN {self.arn!r} is no SageMaker job")
        if self.description.get(kind.name_field) != self.job_name or self.description.get(kind.arn_field) != self.arn:
            raise RecordError("the description is not of the job that is named")
        status = self.description.get(kind.status_field)
        if not isinstance(status, str) or kind.outcome(self.description) is not Outcome.SUCCEEDED:
            raise RecordError("the description is not of a job that has succeeded")
        if [output.uri for output in self.outputs] != output_uris(kind, self.description):
            raise RecordError("the outputs are not those of the description")


@dataclass(frozen=True, slots=True)
class Hit:
    """A job of the same content, with its outputs as it left them."""

    entry: Entry

    @property
    def reason(self) -> str:
        entry, by = self.entry, self.entry.written_by
        return f"the {entry.kind} job {entry.job_name} of {by.dag_id}.{by.task_id}, {by.run_id}, had the same content"


@dataclass(frozen=True, slots=True)
class Miss:
    """No result can be taken over. `suspect`: something was found that should not be like that; worth a warning."""

    reason: str
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Remembered:
    """Whether a result was remembered, and in one sentence why or why not."""

    stored: bool
    reason: str


def lookup(s3: Any, bucket: str, found: Fingerprint) -> Hit | Miss:
    """The remembered job of a fingerprint, if its outputs are as it left them."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        record = cache_records.read(s3, bucket, _key(found))
        if record is None:
            return Miss("no job of this content is remembered")
        try:
            entry = _entry(record, found)
        except RecordError as error:
            return Miss(f"the entry {_key(found)} cannot be used: {error}", suspect=True)
        changed = _changed(s3, entry)
    except (ClientError, BotoCoreError) as error:
        return Miss(f"the step cache cannot be read: {error}", suspect=True)
    if changed:
        return Miss(f"the job {entry.job_name} had the same content, but {changed}")
    return Hit(entry)


def remember(
    s3: Any, bucket: str, key_before: str, after: Fingerprint | NoFingerprint, kind: JobKind,
    description: Mapping[str, Any], identity: TaskIdentity, *, replace: bool = False,
) -> Remembered:  # fmt: skip
    """Remember a job that has succeeded.

    The fingerprint is taken twice, since a job reads its inputs some time after it was asked for: an input that changed in
    between would be remembered with a result that is not its own.

    Args:
        key_before: the fingerprint's key, from before the job was asked for.
        after: the fingerprint of the same request, taken now that the job has ended.
        description: its Describe answer.
        replace: take the place of an entry that is still good; for a step that was run again on purpose.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(after, NoFingerprint):
        return Remembered(False, f"not remembered: {after.reason}")
    if after.key != key_before:
        return Remembered(False, "not remembered: its inputs or the model changed while the job was running")
    try:
        return _remember(s3, bucket, after, kind, plain(description), identity, replace)
    except (RecordError, ListingError) as error:
        return Remembered(False, f"not remembered: {error}")
    except (ClientError, BotoCoreError) as error:
        return Remembered(False, f"not remembered, S3 refused: {error}")


def output_uris(kind: JobKind, description: Mapping[str, Any]) -> list[str]:
    """The folders in S3 that a job has written.

    Raises:
        RecordError: the description does not say.
    """
    try:
        found = [str(uri) for uri in OUTPUTS[kind.name](description)]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise RecordError(f"the description does not say where the {kind.name} job has written") from error
    if len(found) > MAX_OUTPUTS or any(len(uri) > cache_records.MAX_NAME for uri in found):
        raise RecordError(f"the description names more than {MAX_OUTPUTS} outputs, or an overlong one")
    return found


def plain(value: Any) -> Any:
    """A Describe answer as JSON holds it, without times and what is not stored."""
    if isinstance(value, Mapping):
        members = {str(name): plain(member) for name, member in value.items() if name not in NOT_STORED}
        return {name: member for name, member in members.items() if member is not None}
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    is_json = isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))
    return value if is_json else None


def _training(description: Mapping[str, Any]) -> list[str]:
    folder = f"{description['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{description['TrainingJobName']}"
    model = (description.get("ModelArtifacts") or {}).get("S3ModelArtifacts", "")
    return [folder] if not model or model.startswith(f"{folder}/") else [folder, model.rpartition("/")[0]]


def _processing(description: Mapping[str, Any]) -> list[str]:
    outputs = (description.get("ProcessingOutputConfig") or {}).get("Outputs") or ()
    return [output["S3Output"]["S3Uri"] for output in outputs]


def _transform(description: Mapping[str, Any]) -> list[str]:
    return [description["TransformOutput"]["S3OutputPath"]]


OUTPUTS = {"training": _training, "processing": _processing, "transform": _transform}


def _remember(
    s3: Any, bucket: str, found: Fingerprint, kind: JobKind, description: dict[str, Any], identity: TaskIdentity,
    replace: bool,
) -> Remembered:  # fmt: skip
    outputs = []
    for uri in output_uris(kind, description):
        contents = list_folder(s3, uri, MAX_OUTPUT_OBJECTS)
        outputs.append(Output(uri, contents.count, contents.digest))
    entry = Entry(
        kind=kind.name,
        components=found.components,
        job_name=str(description.get(kind.name_field)),
        arn=str(description.get(kind.arn_field)),
        description=description,
        outputs=tuple(outputs),
        written_by=identity,
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    body = json.dumps({"format": FORMAT, "key": found.key, **asdict(entry)}, sort_keys=True).encode()
    if len(body) > cache_records.MAX_BYTES:
        return Remembered(False, f"not remembered: its entry of {len(body)} bytes is over {cache_records.MAX_BYTES}")
    if _put(s3, bucket, found, body, IfNoneMatch="*"):
        return Remembered(True, f"remembered as {found.key[:12]}")
    record = cache_records.read(s3, bucket, _key(found))
    if record is None:
        return Remembered(False, "not remembered: another run's entry was there and has just been deleted")
    if not replace and (kept := _still_good(s3, record, found)) is not None:
        return Remembered(False, f"the job {kept.job_name} of the same content was remembered first")
    if _put(s3, bucket, found, body, IfMatch=record.etag):
        return Remembered(True, f"remembered as {found.key[:12]}, in place of an earlier entry")
    return Remembered(False, "another run has just remembered a job of the same content")


def _put(s3: Any, bucket: str, found: Fingerprint, body: bytes, **condition: str) -> bool:
    """Write an entry if the condition holds; False when somebody else was quicker, which is no error."""
    from botocore.exceptions import ClientError

    try:
        s3.put_object(Bucket=bucket, Key=_key(found), Body=body, ContentType="application/json", **condition)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"):
            return False
        raise
    return True


def _still_good(s3: Any, record: cache_records.Record, found: Fingerprint) -> Entry | None:
    try:
        entry = _entry(record, found)
    except RecordError:
        return None
    return None if _changed(s3, entry) else entry


def _key(found: Fingerprint) -> str:
    return f"{ENTRIES}{found.key}.json"


def _changed(s3: Any, entry: Entry) -> str:
    """What became of the outputs, or nothing when they are as the job left them."""
    for output in entry.outputs:
        try:
            now = list_folder(s3, output.uri, output.objects)
        except ListingError as error:
            return f"its output {output.uri} has changed: {error}"
        if now.count < output.objects:
            return f"its output {output.uri} is gone: {now.count} of {output.objects} objects are left"
        if now.digest != output.digest:
            return f"its output {output.uri} has changed"
    return ""


def _entry(record: cache_records.Record, found: Fingerprint) -> Entry:
    """The entry in a document, which must be of this very content.

    Raises:
        RecordError: it is not an entry, or another's.
    """
    document = record.document
    if document is None:
        raise RecordError(record.fault)
    if document.get("format") != FORMAT:
        raise RecordError(f"its format is {str(document.get('format'))[:20]!r}, not {FORMAT}")
    components = cache_records.components(document)
    if components != dict(found.components) or key_of(components) != document.get("key"):
        raise RecordError("its components are not those of its key")
    if document.get("kind") != found.kind:
        raise RecordError(f"it is not of a {found.kind} job")
    description, outputs = document.get("description"), document.get("outputs")
    if not isinstance(description, dict) or not isinstance(outputs, list):
        raise RecordError("description must be a mapping and outputs a list")
    return Entry(
        kind=cache_records.text(document, "kind"),
        components=components,
        job_name=cache_records.text(document, "job_name"),
        arn=cache_records.text(document, "arn"),
        description=description,
        outputs=tuple(_output(output) for output in outputs),
        written_by=cache_records.identity(document, "written_by"),
        written_at=cache_records.text(document, "written_at"),
    )


def _output(document: Any) -> Output:
    if not isinstance(document, dict):
        raise RecordError("an output must be a mapping")
    objects = document.get("objects")
    if isinstance(objects, bool) or not isinstance(objects, int) or not 0 <= objects <= MAX_OUTPUT_OBJECTS:
        raise RecordError(f"an output's objects must be a number up to {MAX_OUTPUT_OBJECTS}")
    return Output(
        cache_records.text(document, "uri", cache_records.MAX_NAME), objects, cache_records.text(document, "digest")
    )

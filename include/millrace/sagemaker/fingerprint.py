"""A job's content as named components and one key: equal components, equal key, and a job that need not run twice.

What goes in: the objects of every input by ETag and size, the files of the source archive by SHA-256, the image as it is
written, and every other member of the Create request that this module does not know to be indifferent. A new member
therefore counts until somebody says otherwise. What stays out changes no result, or differs between a laptop and AWS: names,
places, rights, keys, limits of time, types of machine. No time is looked at.

What it cannot see: an image pushed again under its tag, data that a job fetches by itself, the clock. An `s3://` URI in an
argument, hyperparameter or variable counts as the text that it is, not as what lies there; make it an input.

Variables are kept as digests, since they may hold secrets; a digest hides no secret that can be guessed. Arguments and
hyperparameters are kept as they are, as SageMaker's own pages show them.
"""

from __future__ import annotations

import copy
import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .kinds import JobKind
from .listing import LISTERS, ListingError, collect, object_content, parse_uri
from .requests import CODE_INPUT
from .source import MAX_BYTES

FORMAT = 1
"""Raise it when equal components come to mean something else: every remembered step is then forgotten."""

INDIFFERENT = frozenset(
    {
        "TrainingJobName", "ProcessingJobName", "TransformJobName", "Tags", "ExperimentConfig", "MlflowConfig",
        "RoleArn", "VpcConfig", "KmsKeyId", "VolumeKmsKeyId", "OutputKmsKeyId", "EnableInterContainerTrafficEncryption",
        "SessionChainingConfig", "RemoteDebugConfig", "InfraCheckConfig", "StoppingCondition", "RetryStrategy",
        "EnableManagedSpotTraining", "ModelClientConfig", "InstanceType", "VolumeSizeInGB", "KeepAlivePeriodInSeconds",
        "TrainingPlanArn", "InstancePlacementConfig", "InstancePreferences", "S3OutputPath", "DestinationS3Uri",
    }
)  # fmt: skip
"""Members, at any depth, that say who, where, how long and for how much, never what."""
MODEL_RECORD = frozenset({"ModelName", "ModelArn", "ExecutionRoleArn", "CreationTime", "ResponseMetadata"})
"""Members of a model's description that say who made it and when."""
NAMED = {
    "AppSpecification.ImageUri": "image",
    "AlgorithmSpecification.TrainingImage": "image",
    "ProcessingResources.ClusterConfig.InstanceCount": "instances",
    "ResourceConfig.InstanceCount": "instances",
    "TransformResources.InstanceCount": "instances",
}
PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
SOURCE_ARCHIVE = re.compile(r"(.*/)?code/[0-9a-f]{64}\.tar\.gz")
SHOWN_CHARACTERS = 256
UNPACKED_BYTES = 2 * MAX_BYTES  # the files with their headers in the tar

Components = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a job is, as named components."""

    kind: str
    components: Mapping[str, str]

    @property
    def key(self) -> str:
        """The SHA-256 of the components, whatever their order."""
        return key_of(self.components)


@dataclass(frozen=True, slots=True)
class NoFingerprint:
    """This job's content cannot be told, so its result is neither looked for nor remembered."""

    reason: str


def key_of(components: Mapping[str, str]) -> str:
    text = json.dumps({"format": FORMAT, "components": dict(components)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(s3: Any, sagemaker: Any, kind: JobKind, request: Mapping[str, Any]) -> Fingerprint | NoFingerprint:
    """The fingerprint of a Create request, before its job is asked for; the same again after its end, if nothing moved.

    `s3` and `sagemaker` are boto3 clients; the second is asked about the model of a transform job. What they refuse is a
    reason for NoFingerprint: a cache must not fail a task.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    reader = READERS.get(kind.name)
    if reader is None:
        return NoFingerprint(f"{kind.name} jobs are not cached; {', '.join(READERS)} jobs are")
    rest = copy.deepcopy(dict(request))
    components = {"kind": kind.name}
    try:
        for found in (reader(s3, sagemaker, rest), flat(rest)):  # the reader takes out what it understands, first
            for name, value in found:
                if name in components:
                    raise ListingError(f"two parts of the request are both called {name!r}")
                components[name] = value
    except ListingError as error:
        return NoFingerprint(str(error))
    except (ClientError, BotoCoreError) as error:
        return NoFingerprint(f"its content cannot be looked at: {error}")
    return Fingerprint(kind.name, components)


def _training(s3: Any, _sagemaker: Any, rest: dict[str, Any]) -> Components:
    """Takes what it understands out of `rest`."""
    hyperparameters = dict(rest.pop("HyperParameters", None) or {})
    hyperparameters.pop("sagemaker_job_name", None)
    channels = rest.pop("InputDataConfig", None) or ()
    code = _unquoted(hyperparameters.get("sagemaker_submit_directory", ""))
    if code.startswith("s3://"):
        del hyperparameters["sagemaker_submit_directory"]
        yield from _code(s3, code)
    elif code and any(_is_in_channel(code, channel) for channel in channels):
        del hyperparameters["sagemaker_submit_directory"]  # it names a file of that channel, whose content counts
    for name, value in hyperparameters.items():
        yield f"hyperparameter {name}", _shown(value)
    for channel in channels:
        yield from _input(s3, channel.pop("ChannelName"), channel)
    yield from _environment("environment", rest)
    checkpoints = rest.get("CheckpointConfig") or {}
    if "S3Uri" in checkpoints:
        own = rest.get("OutputDataConfig", {}).get("S3OutputPath", "").rstrip("/")
        if not own or not checkpoints["S3Uri"].startswith(f"{own}/"):
            raise ListingError(
                f"checkpoints at {checkpoints['S3Uri']} may be another job's: where it starts is not known"
            )
        del checkpoints["S3Uri"]


def _is_in_channel(code: str, channel: Mapping[str, Any]) -> bool:
    """Whether a path inside the job is the source archive that comes as a channel, as for an isolated job."""
    uri: str = ((channel.get("DataSource") or {}).get("S3DataSource") or {}).get("S3Uri", "")
    return channel["ChannelName"] == CODE_INPUT and code.rpartition("/")[2] == uri.rpartition("/")[2]


def _processing(s3: Any, _sagemaker: Any, rest: dict[str, Any]) -> Components:
    application = rest.get("AppSpecification", {})
    for member, name in (("ContainerEntrypoint", "entrypoint"), ("ContainerArguments", "argument")):
        for number, value in enumerate(application.pop(member, None) or (), start=1):
            yield f"{name} {number}", _shown(value)
    for item in rest.pop("ProcessingInputs", None) or ():
        yield from _input(s3, item.pop("InputName"), item)
    for output in (rest.get("ProcessingOutputConfig") or {}).pop("Outputs", ()):
        name = _part(output.pop("OutputName"))
        output.get("S3Output", {}).pop("S3Uri", None)
        yield f"output {name}", "asked for"
        yield from flat(output, f"output {name}, ")
    yield from _environment("environment", rest)


def _transform(s3: Any, sagemaker: Any, rest: dict[str, Any]) -> Components:
    yield from _model(s3, sagemaker, rest.pop("ModelName"))
    yield from _input(s3, "data", rest.pop("TransformInput"))
    yield from _environment("environment", rest)


READERS: Mapping[str, Callable[[Any, Any, dict[str, Any]], Components]] = {
    "training": _training,
    "processing": _processing,
    "transform": _transform,
}


def _input(s3: Any, name: str, holder: dict[str, Any]) -> Components:
    """The objects of an input or channel, and how it is read."""
    source = holder.get("S3Input") or (holder.get("DataSource") or {}).get("S3DataSource")
    if source is None:
        raise ListingError(f"the input {name} does not come from S3, and nothing else can be compared")
    uri, data_type = source.pop("S3Uri"), source.get("S3DataType", "S3Prefix")
    if SOURCE_ARCHIVE.fullmatch(parse_uri(uri)[1]):
        yield from _code(s3, uri)
    elif data_type not in LISTERS:
        raise ListingError(f"the input {name} is a {data_type}, which is not followed; {', '.join(LISTERS)} are")
    else:
        try:
            contents = LISTERS[data_type](s3, uri)
        except ListingError as error:
            raise ListingError(f"the input {name}: {error}") from error
        if not contents.count:
            raise ListingError(f"the input {name} is empty: there is no object at {uri}")
        yield from contents.components(f"input {_part(name)}").items()
    yield from flat(holder, f"input {_part(name)}, ")


def _model(s3: Any, sagemaker: Any, model_name: str) -> Components:
    """A model by what it holds; its own name says nothing."""
    description = dict(sagemaker.describe_model(ModelName=model_name))
    containers = [*(description.pop("Containers", None) or ()), description.pop("PrimaryContainer", None)]
    for number, container in enumerate(filter(None, containers), start=1):
        label = "model" if number == 1 else f"model {number}"
        archive, source = container.pop("ModelDataUrl", None), container.pop("ModelDataSource", None) or {}
        if archive:  # AWS then says the same again in ModelDataSource
            yield f"{label}: archive", object_content(s3, archive)
        elif source:
            yield from _input(s3, label, {"DataSource": source})
        if "Image" in container:
            yield f"{label} image", container.pop("Image")
        yield from _environment(f"{label} environment", container)
        yield from flat(container, f"{label}, ")
    yield from flat({name: value for name, value in description.items() if name not in MODEL_RECORD}, "model, ")


def _code(s3: Any, uri: str) -> Components:
    """The files of a source archive by their content. It is untrusted: what is read and unpacked is bounded."""
    bucket, key = parse_uri(uri)
    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
    data = body.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        body.close()
        yield "code", object_content(s3, uri)
        return
    try:
        files = _files(data)
    except ListingError:
        yield "code", hashlib.sha256(data).hexdigest()  # no archive of ours, but content all the same
        return
    yield from collect(sorted(files.items())).components("code").items()


def _files(packed: bytes) -> dict[str, str]:
    """Name to SHA-256 of the files of a tar.gz.

    Raises:
        ListingError: it is none, or larger than it should be.
    """
    files: dict[str, str] = {}
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as unpacking:
            data = unpacking.read(UNPACKED_BYTES + 1)
        if len(data) > UNPACKED_BYTES:
            raise ListingError(f"it unpacks to more than {UNPACKED_BYTES} bytes")
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is not None:
                    files[member.name] = hashlib.sha256(stream.read()).hexdigest()
                elif not member.isdir():
                    files[member.name] = hashlib.sha256(f"{member.type!r} {member.linkname}".encode()).hexdigest()
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise ListingError(f"it is not a tar.gz: {error}") from error
    if not files:
        raise ListingError("it holds no file")
    return files


def _environment(label: str, holder: dict[str, Any]) -> Components:
    for name, value in (holder.pop("Environment", None) or {}).items():
        yield f"{label} {name}", hashlib.sha256(f"{name}\0{value}".encode()).hexdigest()


def flat(value: Any, path: str = "") -> Components:
    """Whatever is left of a request, by dotted names, without what is indifferent.

    Raises:
        ListingError: it names a place in S3 that nothing here looks at.
    """
    if isinstance(value, Mapping):
        for name, member in value.items():
            if name not in INDIFFERENT:
                yield from flat(member, _join(path, _part(name)))
    elif isinstance(value, (list, tuple)):
        for number, member in enumerate(value, start=1):
            yield from flat(member, _join(path, str(number)))
    elif value is not None:
        if isinstance(value, str) and value.startswith("s3://"):
            raise ListingError(f"{path} is {value}, and what lies there is not looked at")
        yield NAMED.get(path, path), _shown(value if isinstance(value, str) else json.dumps(value, default=str))


def _join(path: str, name: str) -> str:
    return f"{path}{name}" if not path or path.endswith(" ") else f"{path}.{name}"


def _part(name: str) -> str:
    """A name inside a component's name: quoted when it could be taken for more than one word."""
    return name if PLAIN.fullmatch(name) else json.dumps(name)


def _shown(value: str) -> str:
    """A value in full while it is short, else its beginning and what tells it apart. The two cannot be equal."""
    if len(value) <= SHOWN_CHARACTERS:
        return value
    return f"{value[:SHOWN_CHARACTERS]}… sha256 {hashlib.sha256(value.encode()).hexdigest()}"


def _unquoted(value: str) -> str:
    """A hyperparameter of script mode, which is JSON."""
    try:
        plain = json.loads(value)
    except ValueError:
        return value
    return plain if isinstance(plain, str) else value

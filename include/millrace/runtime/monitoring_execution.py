"""One execution of a monitoring schedule as the processing job that it is: the data of its window in, violations out.

The job's inputs are the hours of an endpoint's captured data, or of a prefix that batch transform writes to, and the
baseline; its environment is Model Monitor's contract with containers. What it does not do: it neither decides when
(`schedule_times.py`) nor follows the job (`monitoring_scheduler.py`).

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-inputs.html
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from . import data_capture, staging
from .data_capture import DataCapture
from .database import Database, Resource
from .errors import JobFailed
from .monitoring_definition import Definition
from .s3.errors import S3Error
from .schedule_times import HOUR, Window
from .storage import Storage

BASELINE = "/opt/ml/processing/baseline"
GROUND_TRUTH = "/opt/ml/processing/groundtruth"
CONFIG = "/opt/ml/processing/input/config"
"""Where a job finds what belongs to its data."""
VIOLATIONS = "constraint_violations.json"
MAX_VIOLATIONS_BYTES = 64 * 1024 * 1024
DEFAULT_SECONDS = 3600
DATED = re.compile(r"(?:.*/)??(?P<hour>\d{4}/\d{2}/\d{2}/\d{2})/")
VARIABLES = {
    "ExcludeFeaturesAttribute": "exclude_features_attribute",
    "FeaturesAttribute": "features_attribute",
    "InferenceAttribute": "inference_attribute",
    "ProbabilityAttribute": "probability_attribute",
    "ProbabilityThresholdAttribute": "probability_threshold_attribute",
}
"""Members of an input that the container is told of as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Which run of which schedule."""

    schedule: str
    job_name: str
    scheduled: float
    """Seconds since the epoch."""
    window: Window


def job_name(schedule: Resource, scheduled: float) -> str:
    """The same for the same run of a schedule, so that a runtime that was killed finds the job it has begun."""
    content = f"{schedule.arn} {schedule.created!r} {scheduled!r}"
    return f"model-monitoring-{_moment(scheduled, '%Y%m%d%H%M')}-{hashlib.sha256(content.encode()).hexdigest()[:24]}"


def processing_request(
    definition: Definition, execution: Execution, database: Database, storage: Storage
) -> dict[str, Any]:
    """What CreateProcessingJob is asked for.

    Raises:
        JobFailed: there are no data in the window, or the endpoint or the baseline is gone.
        StorageAway: the S3 does not answer now.
    """
    captured = None if definition.endpoint is None else _captured(definition.endpoint, database)
    baseline = dict(_baseline(definition, database))
    application = definition.application
    sources = [
        *_data(definition, execution.window, captured, storage),
        *_ground_truth(definition, execution, storage),
        *((uri, f"{BASELINE}/{what}") for what, uri in baseline.items()),
        *((uri, CONFIG) for uri in [application.get("ConfigUri")] if uri),
    ]
    application_members = ("ImageUri", "ContainerEntrypoint", "ContainerArguments")
    request = {
        "ProcessingJobName": execution.job_name,
        "RoleArn": definition.role,
        "AppSpecification": {name: application[name] for name in application_members if name in application},
        "Environment": _environment(definition, execution, captured, baseline),
        "ProcessingInputs": [_input(f"input_{index}", *source) for index, source in enumerate(sources, 1)],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "monitoring_output",
                    "S3Output": {
                        "S3Uri": output_uri(definition, execution.schedule, execution.scheduled),
                        "LocalPath": definition.output["LocalPath"],
                        "S3UploadMode": definition.output.get("S3UploadMode", "EndOfJob"),
                    },
                }
            ]
        },
        "ProcessingResources": {"ClusterConfig": dict(definition.cluster)},
        "StoppingCondition": dict(definition.stopping or {"MaxRuntimeInSeconds": DEFAULT_SECONDS}),
    }
    return request | ({"NetworkConfig": dict(definition.network)} if definition.network else {})


def output_uri(definition: Definition, schedule: str, scheduled: float) -> str:
    """Where an execution writes: <S3Uri>/<endpoint>/<schedule>/yyyy/mm/dd/hh of the scheduled time, as SageMaker does."""
    parts = (definition.output["S3Uri"].rstrip("/"), definition.endpoint, schedule, _hour(scheduled))
    return "/".join(part for part in parts if part)


def violations_in(uri: str, storage: Storage) -> int:
    """How many violations an execution's output tells of; none where it has no such file.

    Raises:
        JobFailed: the file cannot be used.
        StorageAway: the S3 does not answer now.
    """
    bucket, key = staging.parse_uri(f"{uri}/{VIOLATIONS}")
    try:
        with storage.open(bucket, key) as stream:
            content = stream.read(MAX_VIOLATIONS_BYTES + 1)
    except S3Error as error:
        if error.status == 404:
            return 0
        raise JobFailed(f"ClientError: {uri}/{VIOLATIONS} cannot be read: {error.message}") from error
    try:
        if len(content) > MAX_VIOLATIONS_BYTES:
            raise ValueError(f"it is larger than {MAX_VIOLATIONS_BYTES} bytes")
        return len(json.loads(content)["violations"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise JobFailed(
            f'AlgorithmError: {uri}/{VIOLATIONS} is no document {{"violations": [...]}}: {type(error).__name__}: {error}'
        ) from error


@dataclass(frozen=True, slots=True)
class Captured:
    """Where an endpoint's captured data are."""

    endpoint: str
    variants: list[str]
    """All that have served it."""
    capture: DataCapture


def _captured(name: str, database: Database) -> Captured:
    endpoint = database.get("endpoint", name)
    if endpoint is None:
        raise JobFailed(f'ClientError: Could not find endpoint "{name}".')
    capture = data_capture.of_config(endpoint.document.get("capture"))
    if capture is None:
        raise JobFailed(
            f"ClientError: the endpoint {name} captures no data: update it to an endpoint configuration with a "
            "DataCaptureConfig"
        )
    return Captured(name, endpoint.document["variants"], capture)


def _data(
    definition: Definition, window: Window, captured: Captured | None, storage: Storage
) -> Iterator[tuple[str, str]]:
    """The prefixes that hold the window's data, and the folder of the job for each."""
    if captured is None:
        root = definition.source["DataCapturedDestinationS3Uri"].rstrip("/")
        paths = _of_window(root, window, storage)
    else:
        root = f"{captured.capture.destination}/{captured.endpoint}"
        hours = [f"{variant}/{hour}" for variant in captured.variants for hour in _hours(window)]
        paths = [path for path in hours if _holds_any(f"{root}/{path}/", storage)]
    _must_hold(paths, root, window)
    local = "/".join(filter(None, (definition.source["LocalPath"].rstrip("/"), definition.endpoint)))
    yield from ((f"{root}/{path}".rstrip("/") + "/", f"{local}/{path}".rstrip("/")) for path in paths)


def _ground_truth(definition: Definition, execution: Execution, storage: Storage) -> Iterator[tuple[str, str]]:
    """The hours of ground truth (<S3Uri>/yyyy/mm/dd/hh/) that can hold a window's labels, if the definition asks for them.

    The date is that of the label and not of its inference, so that labels of the window may lie in every hour from its start
    to the execution.
    """
    if definition.ground_truth is None:
        return
    root = definition.ground_truth["S3Uri"].rstrip("/")
    until_now = Window(execution.window.start, max(execution.window.end, execution.scheduled))
    hours = [hour for hour in _hours(until_now) if _holds_any(f"{root}/{hour}/", storage)]
    _must_hold(hours, root, until_now)
    yield from ((f"{root}/{hour}/", f"{GROUND_TRUTH}/{hour}") for hour in hours)


def _must_hold(paths: Sequence[str], root: str, window: Window) -> None:
    """Fail in SageMaker's words where a window is empty."""
    if not paths:
        raise JobFailed(
            f'No S3 objects found under S3 URL "{root}" given in input data source: nothing is there for the window from '
            f"{_moment(window.start)} to {_moment(window.end)}. Please ensure that the bucket exists and that objects exist "
            "under that S3 prefix"
        )


def _of_window(root: str, window: Window, storage: Storage) -> list[str]:
    """The dated folders (…/yyyy/mm/dd/hh/) of the window below a prefix; all of a prefix without dated folders."""
    bucket, prefix = staging.parse_uri(f"{root}/")
    hours, dated, holds_others = set(_hours(window)), set(), False
    try:
        for stored in storage.list_keys(bucket, prefix):
            match = DATED.match(stored.key, len(prefix))
            if match is None:
                holds_others = holds_others or not stored.key.endswith("/")
            else:
                dated.add((match["hour"], match[0].rstrip("/")))
    except S3Error as error:
        raise JobFailed(f"ClientError: {root} cannot be listed: {error.message}") from error
    if not dated:
        return [""] if holds_others else []
    return sorted(path for hour, path in dated if hour in hours)


def _holds_any(uri: str, storage: Storage) -> bool:
    bucket, prefix = staging.parse_uri(uri)
    try:
        return next(iter(storage.list_keys(bucket, prefix)), None) is not None
    except S3Error as error:
        raise JobFailed(f"ClientError: {uri} cannot be listed: {error.message}") from error


def _baseline(definition: Definition, database: Database) -> Iterator[tuple[str, str]]:
    """The URIs of the baseline's files, by what they are: those that are given, else those that a baselining job wrote."""
    job_name = definition.baseline.get("BaseliningJobName")
    for what, file_name in definition.type.baseline.items():
        uri = (definition.baseline.get(f"{what.capitalize()}Resource") or {}).get("S3Uri")
        if uri is None and job_name is not None:
            uri = f"{_output_of(job_name, database)}/{file_name}"
        if uri is not None:
            yield what, uri


def _output_of(job_name: str, database: Database) -> str:
    job = database.get("processing-job", job_name)
    outputs = (job.document["request"].get("ProcessingOutputConfig") or {}).get("Outputs") if job else None
    if not outputs:
        raise JobFailed(f"ClientError: the baselining job {job_name} is not there, or has no output")
    return str(outputs[0]["S3Output"]["S3Uri"]).rstrip("/")


def _environment(
    definition: Definition, execution: Execution, captured: Captured | None, baseline: Mapping[str, str]
) -> dict[str, str]:
    application = definition.application
    source = definition.source
    ours = {
        "analysis_type": definition.type.analysis,
        "dataset_format": json.dumps(_format(definition, captured)),
        "dataset_source": source["LocalPath"],
        "output_path": definition.output["LocalPath"],
        "start_time": _moment(execution.window.start),
        "end_time": _moment(execution.window.end),
        "sagemaker_monitoring_schedule_name": execution.schedule,
        **{f"baseline_{what}": f"{BASELINE}/{what}/{uri.rpartition('/')[2]}" for what, uri in baseline.items()},
        **{variable: str(source[member]) for member, variable in VARIABLES.items() if member in source},
    }
    if definition.endpoint is not None:
        ours["sagemaker_endpoint_name"] = definition.endpoint
    if definition.ground_truth is not None:
        ours["ground_truth_source"] = GROUND_TRUTH
    if "ConfigUri" in application:
        ours["analysis_config"] = f"{CONFIG}/{application['ConfigUri'].rpartition('/')[2]}"
    if "ProblemType" in application:
        ours["problem_type"] = application["ProblemType"]
    return {"publish_cloudwatch_metrics": "Enabled", **(application.get("Environment") or {}), **ours}


def _format(definition: Definition, captured: Captured | None) -> dict[str, Any]:
    if captured is not None:
        return {"sagemakerCaptureJson": {"captureIndexNames": list(captured.capture.parts)}}
    ((kind, options),) = definition.source["DatasetFormat"].items()
    if kind == "Csv":
        return {"csv": {"header": options.get("Header", True)}}
    return {"json": {"line": options.get("Line", True)}} if kind == "Json" else {"parquet": {}}


def _input(name: str, uri: str, local: str) -> dict[str, Any]:
    source = {"S3Uri": uri, "LocalPath": local, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": source}


def _hours(window: Window) -> list[str]:
    """The folders of the hours that a window touches."""
    first, last = math.floor(window.start / HOUR), math.ceil(window.end / HOUR)
    return [_hour(hour * HOUR) for hour in range(first, last)]


def _hour(moment: float) -> str:
    return _moment(moment, "%Y/%m/%d/%H")


def _moment(moment: float, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return datetime.fromtimestamp(moment, UTC).strftime(form)

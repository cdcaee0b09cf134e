"""Training jobs: script mode or an own entrypoint over S3 channels, on one or more instances, spot or not."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from millrace.runtime import (
    feeder,
    launchers,
    metric_publisher,
    metric_reader,
    packages,
    pipes,
    source_archive,
    staging,
    warm_pools,
)
from millrace.runtime.database import Resource
from millrace.runtime.folder_sync import FolderSync
from millrace.runtime.inputs import Source
from millrace.runtime.instance import Beside
from millrace.runtime.jobs import (
    Command,
    Group,
    Host,
    JobType,
    contained,
    fresh_folder,
    lease_of,
    merged_environment,
    resource_config,
    s3_source,
    write_json,
)
from millrace.runtime.sandbox import Box

from . import training_checks
from .training_checks import BASE, DAY, input_mode

PACKAGES, PACKAGES_OF = "packages", "packages-sha256"
"""Below /opt/ml, where script mode looks for what requirements.txt asks for."""
CHECKPOINTS = "/opt/ml/checkpoints"
"""CheckpointConfig.LocalPath when the request has none."""
DEBUGGER, TENSORBOARD, PROFILER = "/opt/ml/output/tensors", "/opt/ml/output/tensorboard", "/opt/ml/output/profiler"
HOMOGENEOUS = "homogeneousCluster"


class TrainingJobs(JobType):
    kind = "training-job"
    prefix = "TrainingJob"
    log_group = "/aws/sagemaker/TrainingJobs"
    grace_seconds = 120
    uploads_when_stopped = True
    list_filters: ClassVar[Mapping[str, str]] = {"WarmPoolStatusEquals": "$.warm_pool.Status"}
    summary_excerpt: ClassVar[Mapping[str, str]] = {"warm_pool": "$.warm_pool"}

    def check(self, request: dict[str, Any], host: Host) -> None:
        training_checks.check(request)

    def instance_types(self, request: dict[str, Any]) -> list[str]:
        return [group.instance_type for group in _groups(request) for _ in range(group.count)]

    def max_seconds(self, request: dict[str, Any]) -> int | None:
        return int(request["StoppingCondition"].get("MaxRuntimeInSeconds", DAY))

    def max_wait_seconds(self, request: dict[str, Any]) -> int | None:
        seconds = request["StoppingCondition"].get("MaxWaitTimeInSeconds")
        return int(seconds) if seconds and self.is_spot(request) else None

    def is_spot(self, request: dict[str, Any]) -> bool:
        return bool(request.get("EnableManagedSpotTraining"))

    def retries(self, request: dict[str, Any]) -> int:
        return int((request.get("RetryStrategy") or {}).get("MaximumRetryAttempts", 0))

    def stage(self, job: Resource, host: Host) -> None:
        request = job.document["request"]
        channels = request.get("InputDataConfig") or []
        sources = {channel["ChannelName"]: _source(channel) for channel in channels}
        mode = request["AlgorithmSpecification"]["TrainingInputMode"]
        found = {
            channel["ChannelName"]: sources[channel["ChannelName"]].find(host.objects)
            for channel in channels
            if input_mode(channel, mode) != "Pipe"
        }
        groups = _groups(request)
        folders = [fresh_folder(host.instance_folder(job, index)) for index in range(job.document["instances"])]
        source = self._place_source(job, host, folders)
        installed = self._install_packages(job, host, source)
        for index, folder in enumerate(folders):
            ml, data = folder / "ml", folder / "inputs"
            data.mkdir()
            for path in ("input/data", "model", "output/data", "checkpoints", "code"):
                (ml / path).mkdir(parents=True)
            mine = [channel for channel in channels if index in _members(channel, groups)]
            self._write_config(job, index, ml, mine)
            box = self._box(job, index, host)
            fed = []
            for channel in mine:
                name, members = channel["ChannelName"], _members(channel, groups)
                place, count = members.index(index), len(members)
                if input_mode(channel, mode) == "Pipe":
                    fed.append(_pipe(channel, sources[name], place, count))
                else:
                    share = sources[name].share(found[name], place, count)
                    staging.materialise(host.objects, share, data / name, link=box.sandboxed)
            if fed:
                pipes.prepare(host.objects, fed, folder, data, link=box.sandboxed)
            if request["AlgorithmSpecification"].get("MetricDefinitions"):
                write_json(folder / "metric_definitions.json", request["AlgorithmSpecification"]["MetricDefinitions"])
            self._restore_checkpoints(job, host, ml)
            if installed:
                (folder / PACKAGES).symlink_to(installed[0])
                (folder / PACKAGES_OF).write_text(installed[1])
                (ml / PACKAGES).mkdir()
            if not box.sandboxed:
                box.link_read_only()

    @staticmethod
    def _place_source(job: Resource, host: Host, folders: Sequence[Path]) -> Path | None:
        """The source archive, as one of the instances has it; None where it is the job's own business to fetch it."""
        request = job.document["request"]
        uri = source_archive.location(request.get("HyperParameters") or {})
        isolated = request.get("EnableNetworkIsolation")
        if (
            not uri
            or isolated
            or request["AlgorithmSpecification"].get("ContainerEntrypoint")
            or not host.may_read(uri)
        ):
            return None
        return source_archive.place(host.objects, uri, folders, link=host.sandboxed)

    def _install_packages(self, job: Resource, host: Host, source: Path | None) -> tuple[Path, str] | None:
        """The packages of the job's requirements.txt, and its SHA-256; None where script mode is to install them itself,
        or has none."""
        request = job.document["request"]
        algorithm = request["AlgorithmSpecification"]
        if source is None or not host.sandboxed:
            return None
        text = packages.requirements_of(source, request.get("Environment") or {})
        if text is None:
            return None
        _, launcher, _ = launchers.launch(
            host.config.data_dir, algorithm["TrainingImage"], "train", self._box(job, 0, host)
        )
        box = host.packages.box(host.config.data_dir, launcher.environment)
        env = merged_environment(host, job, box, {})

        def is_stopping() -> bool:
            now = host.database.get(self.kind, job.name)
            return now is None or now.status != "InProgress"

        try:
            folder = host.packages.installed(text, box, env, host.instances(job)[0].say, is_stopping)
            return folder, hashlib.sha256(text).hexdigest()
        except packages.Cancelled:
            return None  # and the supervisor sees that the job was stopped

    @staticmethod
    def _write_config(job: Resource, index: int, ml: Path, channels: Sequence[dict[str, Any]]) -> None:
        request, config = job.document["request"], ml / "input/config"
        write_json(config / "hyperparameters.json", request.get("HyperParameters") or {})
        write_json(config / "resourceconfig.json", resource_config(job, index, _groups(request)))
        mode = request["AlgorithmSpecification"]["TrainingInputMode"]
        write_json(config / "inputdataconfig.json", {c["ChannelName"]: _channel_config(c, mode) for c in channels})
        for member, name, local in (
            ("DebugHookConfig", "debughookconfig", DEBUGGER),
            ("ProfilerConfig", "profilerconfig", PROFILER),
            ("TensorBoardOutputConfig", "tensorboardoutputconfig", TENSORBOARD),
        ):
            if request.get(member):
                write_json(config / f"{name}.json", {"LocalPath": local, **request[member]})

    @staticmethod
    def _restore_checkpoints(job: Resource, host: Host, ml: Path) -> None:
        """What an earlier start of this job has saved, or an earlier job with the same S3Uri."""
        checkpoints = job.document["request"].get("CheckpointConfig")
        if checkpoints:
            local = checkpoints.get("LocalPath", CHECKPOINTS).removeprefix(BASE)
            found = staging.find(host.objects, _folder_uri(checkpoints["S3Uri"]), "CheckpointConfig", may_be_empty=True)
            staging.materialise(host.objects, found, ml / local, link=False)

    def _box(self, job: Resource, index: int, host: Host) -> Box:
        folder = host.instance_folder(job, index)
        installed = folder / PACKAGES
        shown = {PACKAGES: installed.readlink()} if installed.is_symlink() else {}
        if source := source_archive.held(folder):
            shown[source_archive.SHOWN] = source
        return host.box(
            job,
            index,
            isolate_network=bool(job.document["request"].get("EnableNetworkIsolation")),
            read_only={"input/data": folder / "inputs", **shown},
        )

    def command(self, job: Resource, index: int, host: Host) -> Command:
        request = job.document["request"]
        algorithm = request["AlgorithmSpecification"]
        box = self._box(job, index, host)
        argv, launcher, box = launchers.launch(
            host.config.data_dir, algorithm["TrainingImage"], "train", box,
            algorithm.get("ContainerEntrypoint") or (), algorithm.get("ContainerArguments") or (),
        )  # fmt: skip
        folder = host.instance_folder(job, index)
        installed, parameters = folder / PACKAGES_OF, request.get("HyperParameters") or {}
        own = {
            **({source_archive.VARIABLE: source_archive.location(parameters)} if source_archive.held(folder) else {}),
            **({packages.VARIABLE: installed.read_text()} if installed.exists() else {}),
            "TRAINING_JOB_NAME": job.name,
            "TRAINING_JOB_ARN": job.arn,
            "MASTER_PORT": str(lease_of(job).port),
            **(request.get("Environment") or {}),
        }
        mode, groups = algorithm["TrainingInputMode"], _groups(request)
        beside = []
        if any(
            input_mode(c, mode) == "Pipe" and index in _members(c, groups) for c in request.get("InputDataConfig") or []
        ):
            beside.append(_beside(feeder, folder, is_vital=True))
        if algorithm.get("MetricDefinitions"):
            beside.append(_beside(metric_reader, folder, is_vital=False))
        return Command(argv, merged_environment(host, job, box, own), box, launcher, beside)

    def syncs(self, job: Resource, host: Host) -> list[FolderSync]:
        request = job.document["request"]
        kept = []
        for member, local in (("CheckpointConfig", CHECKPOINTS), ("TensorBoardOutputConfig", TENSORBOARD)):
            if request.get(member):
                settings = request[member]
                kept.append((settings.get("LocalPath", local), settings.get("S3Uri") or settings["S3OutputPath"]))
        hook = request.get("DebugHookConfig")
        if hook:
            kept.append(
                (hook.get("LocalPath", DEBUGGER), f"{hook['S3OutputPath'].rstrip('/')}/{job.name}/debug-output")
            )
        return [
            FolderSync(host.objects, host.instance_folder(job, index) / "ml", local.removeprefix(BASE), uri)
            for index in range(job.document["instances"])
            for local, uri in kept
        ]

    def conclude(self, job: Resource, host: Host) -> dict[str, Any]:
        if not job.document["request"]["AlgorithmSpecification"].get("MetricDefinitions"):
            return {}
        return {"metrics": metric_publisher.final_metrics(host, job)}

    def harvest(self, job: Resource, host: Host) -> dict[str, Any]:
        output = job.document["request"]["OutputDataConfig"]
        base = f"{output['S3OutputPath'].rstrip('/')}/{job.name}/output"
        trees = [host.instance_folder(job, index) / "ml" for index in range(job.document["instances"])]
        changes: dict[str, Any] = {}
        for relative, name in (("model", "model"), ("output/data", "output")):
            folders = [found for tree in trees if (found := contained(tree, relative))]
            if output.get("CompressionType") == "NONE":
                written = sum(staging.upload_folder(host.objects, folder, f"{base}/{name}/") for folder in folders)
                uri = f"{base}/{name}/"
            else:
                scratch = host.folder(job) / f"{name}.tar.gz"
                uri = f"{base}/{name}.tar.gz"
                written = staging.upload_archive(host.objects, folders, uri, scratch)
            if name == "model" and written:
                changes["model_artifact"] = uri
        return changes

    def summary(self, job: Resource) -> dict[str, Any]:
        return {"WarmPoolStatus": warm_pools.status_of(job)}

    def undeletable_because(self, job: Resource) -> str:
        if (warm_pools.status_of(job) or {}).get("Status") == warm_pools.AVAILABLE:
            return (
                f"The training job {job.name} has a warm pool that is Available; end it with UpdateTrainingJob and "
                "KeepAlivePeriodInSeconds=0 first"
            )
        return ""

    def describe(self, job: Resource) -> dict[str, Any]:
        document = job.document
        is_over = bool(document.get("started") and document.get("ended"))
        # Waiting for spot capacity between two starts is training time, and is not paid for.
        seconds = int(document["ended"] - document["started"]) if is_over else None
        transitions = [dict(transition) for transition in document["transitions"]]
        return {
            **{k: v for k, v in document["request"].items() if k != "Tags"},
            "ModelArtifacts": {"S3ModelArtifacts": document["model_artifact"]}
            if "model_artifact" in document
            else None,
            "SecondaryStatus": transitions[-1]["Status"],
            "SecondaryStatusTransitions": transitions,
            "TrainingStartTime": document.get("started"),
            "TrainingEndTime": document.get("ended"),
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": math.ceil(document.get("ran_seconds", 0)) if is_over else None,
            "FinalMetricDataList": document.get("metrics"),
            "WarmPoolStatus": warm_pools.status_of(job),
        }


def _beside(program: ModuleType, folder: Path, *, is_vital: bool) -> Beside:
    return Beside([sys.executable, "-I", "-S", str(program.__file__), str(folder)], is_vital)


def _groups(request: dict[str, Any]) -> list[Group]:
    """The instance groups of a heterogeneous cluster, or the one group that any other is."""
    resources = request["ResourceConfig"]
    groups = resources.get("InstanceGroups")
    if not groups:
        return [Group(HOMOGENEOUS, resources["InstanceType"], int(resources["InstanceCount"]))]
    return [Group(row["InstanceGroupName"], row["InstanceType"], int(row["InstanceCount"])) for row in groups]


def _members(channel: dict[str, Any], groups: Sequence[Group]) -> list[int]:
    """The instances that get a channel: all, or those of the groups that it names."""
    wanted = channel["DataSource"]["S3DataSource"].get("InstanceGroupNames")
    names = [group.name for group in groups for _ in range(group.count)]
    return [index for index, name in enumerate(names) if not wanted or name in wanted]


def _source(channel: dict[str, Any]) -> Source:
    seed = (channel.get("ShuffleConfig") or {}).get("Seed")
    return s3_source(channel["DataSource"]["S3DataSource"], f"channel {channel['ChannelName']!r}", seed)


def _pipe(channel: dict[str, Any], source: Source, index: int, count: int) -> pipes.Pipe:
    return pipes.Pipe(
        name=channel["ChannelName"],
        source=source,
        wrap=channel.get("RecordWrapperType") == "RecordIO",
        gzip=channel.get("CompressionType") == "Gzip",
        index=index,
        count=count,
    )


def _folder_uri(uri: str) -> str:
    return uri.rstrip("/") + "/"


def _channel_config(channel: dict[str, Any], default: str) -> dict[str, Any]:
    """A channel's entry in inputdataconfig.json; FastFile is written as File."""
    config = {
        "TrainingInputMode": "Pipe" if input_mode(channel, default) == "Pipe" else "File",
        "S3DistributionType": channel["DataSource"]["S3DataSource"].get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    if channel.get("ContentType"):
        config["ContentType"] = channel["ContentType"]
    return config

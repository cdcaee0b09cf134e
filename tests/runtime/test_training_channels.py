"""What a training script finds in its channels: every input mode, data type and distribution, seen from inside."""

from __future__ import annotations

import json
from typing import Any

import botocore.exceptions
import pytest

from tests.runtime.jobs import Jobs
from tests.runtime.process import IMAGE, ROLE

LISTING = """
import json, os, pathlib
data = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "input/data")
seen = {str(p.relative_to(data)): p.read_text() for p in sorted(data.rglob("*")) if p.is_file()}
host = os.environ["SM_CURRENT_HOST"]
report = {"seen": seen, "config": json.loads(os.environ["SM_RESOURCE_CONFIG"]), "channels": os.environ["SM_CHANNELS"],
          "inputs": json.loads(os.environ["SM_INPUT_DATA_CONFIG"]), "hetero": os.environ["SM_IS_HETERO"]}
pathlib.Path(os.environ["SM_MODEL_DIR"], host + ".json").write_text(json.dumps(report))
"""
PIPE = """
import json, os, pathlib
data = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "input/data")
epochs = [(data / f"train_{epoch}").read_bytes().hex() for epoch in range(3)]
pathlib.Path(os.environ["SM_MODEL_DIR"], os.environ["SM_CURRENT_HOST"] + ".json").write_text(json.dumps(epochs))
"""


def channel(uri: str, name: str = "train", **changes: Any) -> dict[str, Any]:
    """A channel; `changes` of the data source are those that S3DataSource has."""
    members = ("S3DataType", "S3DataDistributionType", "AttributeNames", "InstanceGroupNames")
    source = {"S3DataType": "S3Prefix", "S3Uri": uri} | {key: changes.pop(key) for key in members if key in changes}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **changes}


def reports(jobs: Jobs, name: str) -> dict[str, Any]:
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    return {host: json.loads(body) for host, body in jobs.model_files(description).items()}


def put(jobs: Jobs, folder: str, **files: str) -> str:
    for name, text in files.items():
        jobs.put(f"{folder}/{name}", text.encode())
    return f"s3://bucket/{folder}/"


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_objects_are_files_below_their_channel(jobs: Jobs, mode: str) -> None:
    uri = put(jobs, f"channels/{mode}", a="1", b="2")
    report = reports(jobs, jobs.training(LISTING, InputDataConfig=[channel(uri, InputMode=mode)]))["algo-1.json"]
    assert report["seen"] == {"train/a": "1", "train/b": "2"}
    assert report["inputs"]["train"]["TrainingInputMode"] == "File"


def test_manifest_and_shards_over_two_instances(jobs: Jobs) -> None:
    uri = put(jobs, "channels/manifest", a="1", b="2", c="3")
    listed = jobs.put("channels/list", json.dumps([{"prefix": uri}, "c", "a"]).encode())
    name = jobs.training(
        LISTING, instances=2,
        InputDataConfig=[
            channel(listed, "named", S3DataType="ManifestFile"),
            channel(uri, "shared", S3DataDistributionType="ShardedByS3Key"),
        ],
    )  # fmt: skip
    found = reports(jobs, name)
    first, second = (found[f"algo-{number}.json"]["seen"] for number in (1, 2))
    assert {k: v for k, v in first.items() if k.startswith("named/")} == {"named/a": "1", "named/c": "3"}
    shares = [{k for k in seen if k.startswith("shared/")} for seen in (first, second)]
    assert shares[0] | shares[1] == {"shared/a", "shared/b", "shared/c"}
    assert not shares[0] & shares[1]


def test_pipe_gives_every_epoch_anew(jobs: Jobs) -> None:
    uri = put(jobs, "channels/pipe", a="one", b="two")
    found = reports(jobs, jobs.training(PIPE, InputDataConfig=[channel(uri, InputMode="Pipe")]))
    assert found["algo-1.json"] == [b"onetwo".hex()] * 3


def test_augmented_manifest_is_streamed_as_records_in_shuffled_order(jobs: Jobs) -> None:
    uri = put(jobs, "channels/images", a="image a", b="image b")
    lines = [{"source-ref": f"{uri}{name}", "label": number} for number, name in enumerate("ab")]
    manifest = jobs.put("channels/augmented", "\n".join(map(json.dumps, lines)).encode())
    name = jobs.training(
        PIPE,
        InputDataConfig=[
            channel(
                manifest, S3DataType="AugmentedManifestFile", AttributeNames=["source-ref", "label"], InputMode="Pipe",
                RecordWrapperType="RecordIO", ShuffleConfig={"Seed": 5},
            )
        ],
    )  # fmt: skip
    epochs = [bytes.fromhex(epoch) for epoch in reports(jobs, name)["algo-1.json"]]
    for epoch in epochs:
        assert epoch.count(bytes.fromhex("0a23d7ce")) == 4
        assert (epoch.find(b"image a") < epoch.find(b"image b")) == (epoch.find(b"0\0\0\0") < epoch.find(b"1\0\0\0"))


def test_object_that_cannot_be_unpacked_ends_the_job_with_the_channels_name(jobs: Jobs) -> None:
    uri = put(jobs, "channels/broken", a="no gzip")
    name = jobs.training(
        "import time, os, pathlib\npathlib.Path('/opt/ml/input/data/train_0').read_bytes()\ntime.sleep(600)\n",
        InputDataConfig=[channel(uri, InputMode="Pipe", CompressionType="Gzip")],
    )
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Failed"
    assert "pipe channel 'train': Not a gzipped file" in description["FailureReason"]


def test_heterogeneous_groups_have_their_own_types_and_channels(jobs: Jobs) -> None:
    uri = put(jobs, "channels/groups", a="1", b="2")
    groups = [
        {"InstanceGroupName": "trainers", "InstanceType": "ml.m5.large", "InstanceCount": 1},
        {"InstanceGroupName": "loaders", "InstanceType": "ml.t3.medium", "InstanceCount": 2},
    ]
    name = jobs.training(
        LISTING,
        ResourceConfig={"InstanceGroups": groups, "VolumeSizeInGB": 1},
        InputDataConfig=[
            channel(uri, "all"),
            channel(uri, "loaded", InstanceGroupNames=["loaders"], S3DataDistributionType="ShardedByS3Key"),
        ],
    )
    found = reports(jobs, name)
    assert len(found) == 3
    config = found["algo-2.json"]["config"]
    assert (config["current_group_name"], config["current_instance_type"]) == ("loaders", "ml.t3.medium")
    assert [group["hosts"] for group in config["instance_groups"]] == [["algo-1"], ["algo-2", "algo-3"]]
    assert found["algo-1.json"]["hetero"] == "true"
    assert sorted(found["algo-1.json"]["seen"]) == ["all/a", "all/b"]
    loaded = [key for host in ("algo-2.json", "algo-3.json") for key in found[host]["seen"] if "loaded" in key]
    assert sorted(loaded) == ["loaded/a", "loaded/b"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"CompressionType": "Gzip"}, "is for Pipe input mode only"),
        ({"RecordWrapperType": "RecordIO"}, "is for Pipe input mode only"),
        ({"S3DataType": "AugmentedManifestFile", "AttributeNames": ["a"]}, "is for Pipe input mode only"),
        ({"S3DataType": "AugmentedManifestFile", "InputMode": "Pipe"}, "AttributeNames goes with"),
        ({"AttributeNames": ["a"]}, "AttributeNames goes with"),
        ({"InstanceGroupNames": ["nobody"]}, "names 'nobody', and the cluster's groups are"),
    ],
)
def test_channel_that_cannot_be_is_refused(jobs: Jobs, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match=says):
        jobs.training("", InputDataConfig=[channel("s3://bucket/x", **changes)])


def test_two_channels_of_one_name_are_refused(jobs: Jobs) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="channel names must differ"):
        jobs.training("", InputDataConfig=[channel("s3://bucket/x"), channel("s3://bucket/y")])


def test_own_entrypoint_sees_the_same_tree(jobs: Jobs) -> None:
    uri = put(jobs, "channels/own", a="1")
    name = jobs.name("own")
    jobs.sagemaker.create_training_job(
        TrainingJobName=name, RoleArn=ROLE,
        AlgorithmSpecification={
            "TrainingImage": IMAGE, "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/bin/sh", "-c"], "ContainerArguments": ["cp input/data/train/a model/copied"],
        },
        InputDataConfig=[channel(uri)], OutputDataConfig={"S3OutputPath": "s3://bucket/output"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )  # fmt: skip
    description = jobs.end("training", name)
    assert description["TrainingJobStatus"] == "Completed", description.get("FailureReason")
    assert jobs.model_files(description) == {"copied": b"1"}

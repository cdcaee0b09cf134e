"""The jobs that the soak draws: what each asks for, how it has to end, and what it has to leave.

What it does not do: it creates none, and what is to be seen only from outside of a job (its pool, its checkpoint in S3)
is looked at in `balance.py`.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.runtime.jobs import CLUSTER
from tests.runtime.process import IMAGE

T = TypeVar("T")
SIZES: Mapping[str, int] = {"ml.t3.medium": 4, "ml.m5.large": 4, "ml.m5.xlarge": 2, "ml.m5.4xlarge": 1}
"""How often each is drawn, in proportion; the last is the whole machine."""
POOL_SIZES = ("ml.t3.medium", "ml.m5.large")
"""Few, so that a pool often fits the next job."""
DRAWN_FAILURE = "CapacityError: drawn by the soak"
SURVIVOR = "987654"
"""In the command line of a process that tries to outlive its job."""
SCRIPTS = {
    "quick": "echo done > /opt/ml/processing/out/result",
    "slow": "sleep 1.5; echo done > /opt/ml/processing/out/result",
    "failing": "echo no >&2; exit 3",
    "forking": f"setsid sleep {SURVIVOR} & echo done > /opt/ml/processing/out/result",
    "deaf": "trap '' TERM; sleep 2; echo done > /opt/ml/processing/out/result",
}
RETRIED: dict[str, Any] = {"RetryStrategy": {"MaximumRetryAttempts": 2}}
"""A host that a fault takes away must not decide how a job ends."""
SPOT: dict[str, Any] = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 120, "MaxWaitTimeInSeconds": 3600},
}
CHANNEL_SETS = 3
HALF = 600_000
"""Bytes of a channel after which its reader pauses, so that a kill may come in between."""
EPOCHS = 2
READS = {
    "File": "cat input/data/train/*",
    "FastFile": "cat input/data/train/*",
    "Pipe": "cat input/data/train_$epoch",
}
"""What streams a channel's bytes in the order of their keys, by input mode."""
COUNT = """
import os, pathlib, signal, sys, time
saved = pathlib.Path("/opt/ml/checkpoints/count")
count = int(saved.read_text()) if saved.exists() else 0
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("begun at", count, flush=True)
while count < int(os.environ["LAST"]):
    time.sleep(float(os.environ["PAUSE"]))
    count += 1
    saved.with_suffix(".new").write_text(str(count))
    saved.with_suffix(".new").rename(saved)
    print("saved", count, flush=True)
pathlib.Path("/opt/ml/model/count").write_text(str(count))
"""
PACES = ((12, 0.15), (3, 2.2))
"""Up to which number a checkpointed job counts and how long a step takes: too fast to be synced while it runs, or not."""
MEET = """
import json, os, pathlib, socket, time
config = json.load(open("/opt/ml/input/config/resourceconfig.json"))
hosts, me, port = config["hosts"], config["current_host"], int(os.environ["MASTER_PORT"])
mine = int(os.environ["NUMBER"]) * (hosts.index(me) + 1)
if me == hosts[0]:
    with socket.create_server((me, port)) as server:
        peers = [server.accept()[0] for _ in hosts[1:]]
    total = mine + sum(int(peer.makefile().readline()) for peer in peers)
    for peer in peers:
        peer.sendall(b"%d\\n" % total)
else:
    while True:
        try:
            leader = socket.create_connection((hosts[0], port))
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    leader.sendall(b"%d\\n" % mine)
    total = int(leader.makefile().readline())
pathlib.Path("/opt/ml/model", me).write_text(f"{config['current_group_name']} {total}")
"""
CLUSTERS: tuple[tuple[tuple[str, str, int], ...], ...] = (
    (("homogeneousCluster", "ml.m5.large", 2),),
    (("trainers", "ml.m5.large", 1), ("loaders", "ml.t3.medium", 1)),
    (("trainers", "ml.m5.xlarge", 1), ("loaders", "ml.t3.medium", 2)),
)
"""Groups by name, type and count; one alone is a cluster without groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job as it was drawn."""

    name: str
    api: str
    """`processing` or `training`."""
    what: str
    request: dict[str, Any]
    """What differs from `Jobs.processing` and `Jobs.training`."""
    script: str = ""
    ends: str = "Completed"
    """Its status, unless it is stopped or the fault plan says otherwise."""
    leaves: Mapping[str, bytes] = field(default_factory=dict)
    """What must be in its output, byte for byte, when it is completed."""


def weighted(dice: random.Random, table: Mapping[T, int]) -> T:
    """An entry of a table of weights."""
    return dice.choices(list(table), list(table.values()))[0]


def processing(name: str, dice: random.Random) -> Work:
    what = dice.choice(sorted(SCRIPTS))
    output = {"S3Uri": f"s3://bucket/out/{name}", "LocalPath": "/opt/ml/processing/out",
              "S3UploadMode": dice.choice(["EndOfJob", "Continuous"])}  # fmt: skip
    cluster = CLUSTER | {"InstanceType": weighted(dice, SIZES), "InstanceCount": dice.choice([1, 1, 2])}
    request = {
        "ProcessingResources": {"ClusterConfig": cluster},
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": output}]},
    }
    ends, leaves = ("Failed", {}) if what == "failing" else ("Completed", {"result": b"done\n"})
    return Work(name=name, api="processing", what=what, request=request, script=SCRIPTS[what], ends=ends, leaves=leaves)


def spot(name: str, dice: random.Random) -> Work:
    request = _entrypoint("sleep 0.8; echo m > model/m") | RETRIED | SPOT
    return Work(name=name, api="training", what="spot", request=request, leaves={"m": b"m\n"})


def pool(name: str, dice: random.Random) -> Work:
    """One that writes its name behind those it finds in the pool's cache."""
    cache = "sagemaker/warmpoolcache"
    script = f"mkdir -p {cache}; echo {name} >> {cache}/runs; sleep {dice.choice([0, 0.5])}; cp {cache}/runs model/"
    cluster = {"InstanceType": dice.choice(POOL_SIZES), "KeepAlivePeriodInSeconds": dice.choice([1, 4, 600])}
    request = _entrypoint(script) | RETRIED | {"ResourceConfig": CLUSTER | cluster}
    return Work(name=name, api="training", what="pool", request=request)


def checkpoint(name: str, dice: random.Random) -> Work:
    last, pause = dice.choice(PACES)
    request = {
        "CheckpointConfig": {"S3Uri": f"s3://bucket/checkpoints/{name}"},
        "Environment": {"LAST": str(last), "PAUSE": str(pause)},
    }
    return Work(
        name=name, api="training", what="checkpoint", request=request | RETRIED | SPOT, script=COUNT,
        leaves={"count": str(last).encode()},
    )  # fmt: skip


@functools.cache
def channel_digest(number: int) -> str:
    """The SHA-256 of a set's objects, one after the other."""
    return hashlib.sha256(b"".join(channel_objects(number).values())).hexdigest()


def channel_objects(number: int) -> dict[str, bytes]:
    """What a set of channel objects holds, by key in order. They are put before the soak begins and never change."""
    dice = random.Random(f"channel {number}")
    return {f"channels/{number}/{key}": dice.randbytes(dice.choice((10, HALF, 3 * HALF))) for key in "abcd"}


def channel(name: str, dice: random.Random) -> Work:
    """One that reads a channel twice, with a pause in the midst, and leaves the digests of what it has read."""
    number, mode = dice.randrange(CHANNEL_SETS), dice.choice(sorted(READS))
    half = f"(head -c {HALF}; sleep {dice.choice([0, 0.4])}; cat)"
    epochs = " ".join(map(str, range(EPOCHS)))
    script = f"for epoch in {epochs}; do {READS[mode]} | {half} | sha256sum; done > model/digests"
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://bucket/channels/{number}/"}
    request = {
        "InputDataConfig": [
            {"ChannelName": "train", "InputMode": mode, "DataSource": {"S3DataSource": source}},
        ]
    }
    return Work(
        name=name, api="training", what=mode, request=_entrypoint(script) | RETRIED | request,
        leaves={"digests": EPOCHS * f"{channel_digest(number)}  -\n".encode()},
    )  # fmt: skip


def exchange(name: str, dice: random.Random) -> Work:
    """Instances that meet under their host names and add up their numbers."""
    groups, number = dice.choice(CLUSTERS), dice.randrange(10**6)
    members = [group for group, _, count in groups for _ in range(count)]
    if len(groups) == 1:
        cluster = CLUSTER | {"InstanceType": groups[0][1], "InstanceCount": groups[0][2]}
    else:
        rows = [{"InstanceGroupName": g, "InstanceType": t, "InstanceCount": c} for g, t, c in groups]
        cluster = {"InstanceGroups": rows, "VolumeSizeInGB": 1}
    total = sum(number * (index + 1) for index in range(len(members)))
    return Work(
        name=name, api="training", what="exchange", script=MEET,
        request={"ResourceConfig": cluster, "Environment": {"NUMBER": str(number)}} | RETRIED,
        leaves={f"algo-{index}": f"{group} {total}".encode() for index, group in enumerate(members, start=1)},
    )  # fmt: skip


def _entrypoint(script: str) -> dict[str, Any]:
    algorithm = {"TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": ["/bin/sh", "-c", script]}
    return {"AlgorithmSpecification": algorithm}

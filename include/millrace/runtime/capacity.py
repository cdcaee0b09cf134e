"""What an instance type is on this machine: cores, a share of the memory, GPUs, and how many fit at one time.

The machine is divided into 16 units. A type takes units by its size; its vCPUs and GPUs are those of AWS, as far as the
machine has them. Cores may be shared by several instances; memory and GPUs are not: what does not fit waits. A job whose
instances together are larger than the machine is scaled down to it, so that a pipeline made for large instances runs on a
laptop.

What it does not do: no price is known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

UNITS = 16
UNITS_BY_SIZE = {"medium": 1, "large": 2, "xlarge": 4, "2xlarge": 8}
"""Larger sizes take the whole machine."""
SIZE = re.compile(r"^ml\.(?P<family>[^.]+)\.(?P<size>(?P<times>\d*)(?P<word>medium|large|xlarge)|metal.*)$")
VCPUS = {"medium": 2, "large": 2, "xlarge": 4}
G_SIZES = {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}
GPUS: dict[str, dict[str, int]] = {
    "p2": {"xlarge": 1, "8xlarge": 8, "16xlarge": 16},
    "p3": {"2xlarge": 1, "8xlarge": 4, "16xlarge": 8},
    "p3dn": {"24xlarge": 8},
    "p4d": {"24xlarge": 8},
    "p4de": {"24xlarge": 8},
    "p5": {"4xlarge": 1, "48xlarge": 8},
    "p5e": {"48xlarge": 8},
    "p5en": {"48xlarge": 8},
    "p6-b200": {"48xlarge": 8},
    "p6-b300": {"48xlarge": 8},
    "p6e-gb200": {"36xlarge": 4},
    "g4dn": {"12xlarge": 4},
    "g5": G_SIZES,
    "g6": G_SIZES,
    "g6e": G_SIZES,
    "g7": {"12xlarge": 2, "24xlarge": 4, "48xlarge": 8},
    "g7e": {"12xlarge": 2, "24xlarge": 4, "48xlarge": 8},
}
"""GPUs by family and size, after AWS's pages of accelerated instances; a size of a g family that is not here has one."""
KEPT_FOR_OTHERS = 0.1
"""Of the memory, for the runtime, Airflow and what else the machine does."""
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True)
class Share:
    """What one instance gets.

    Args:
        units: sixteenths of the machine's memory.
        vcpus: as many cores as AWS gives the type; the machine may have fewer.
        gpus: NVIDIA GPUs.
    """

    units: int
    vcpus: int
    gpus: int = 0

    @property
    def memory_bytes(self) -> int:
        return memory_bytes(self.units)


def share_of(instance_type: str) -> Share:
    """The share of a type, by its family and size."""
    match = SIZE.match(instance_type)
    if match is None or match["word"] is None:
        return Share(UNITS, 10_000)
    times = int(match["times"] or 1)
    family, size = match["family"], match["size"]
    gpus = GPUS.get(family, {}).get(size, 1 if family.startswith("g") and family in GPUS else 0)
    return Share(UNITS_BY_SIZE.get(size, UNITS), VCPUS[match["word"]] * times, gpus)


def shares_of(instance_types: list[str], gpus_here: int = 0) -> list[Share]:
    """The shares of a job's instances, scaled down where they are more than the machine together.

    Where there are fewer GPUs than instances that want one, none gets any: ranks on the CPU beside ranks on a GPU could
    not form one process group.
    """
    shares = [share_of(instance_type) for instance_type in instance_types]
    units = scaled([share.units for share in shares], UNITS)  # zero units: nobody's memory is watched then
    gpus = scaled([share.gpus for share in shares], gpus_here)
    if any(share.gpus and not given for share, given in zip(shares, gpus, strict=True)):
        gpus = [0] * len(shares)
    return [Share(number, share.vcpus, given) for number, share, given in zip(units, shares, gpus, strict=True)]


def scaled(wanted: list[int], there: int) -> list[int]:
    """Whole parts of what is there, in proportion to what is wanted, at least one each if that suffices for all."""
    total = sum(wanted)
    if total <= there:
        return wanted
    least = 1 if sum(map(bool, wanted)) <= there else 0
    parts = [max(least, number * there // total) if number else 0 for number in wanted]
    while sum(parts) > there:
        parts[parts.index(max(parts))] -= 1
    return parts


def memory_bytes(units: int) -> int:
    return machine_memory() * units // UNITS


@cache
def machine_memory() -> int:
    """Bytes that jobs may use together: the machine's, or the container's that the runtime itself runs in."""
    limits = [psutil.virtual_memory().total]
    for path in CGROUP_LIMITS:
        try:
            limits.append(int(path.read_text()))
        except (OSError, ValueError):
            continue  # no such cgroup, or `max`
    return int(min(limits) * (1 - KEPT_FOR_OTHERS))

"""What an instance type is on this machine: cores, a share of the memory, and how many fit at one time.

The machine is divided into 16 units. A type takes units by its size; its vCPUs are those of AWS, as far as the machine
has them. Cores may be shared by several instances; memory is not: what does not fit waits. A job whose instances together
are larger than the machine is scaled down to it, so that a pipeline made for large instances runs on a laptop.

What it does not do: GPUs are not leased, and no price is known here.
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
SIZE = re.compile(r"^ml\.[^.]+\.(?P<size>(?P<times>\d*)(?P<word>medium|large|xlarge)|metal.*)$")
VCPUS = {"medium": 2, "large": 2, "xlarge": 4}
KEPT_FOR_OTHERS = 0.1
"""Of the memory, for the runtime, Airflow and what else the machine does."""
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True, slots=True)
class Share:
    """What one instance gets.

    Args:
        units: sixteenths of the machine's memory.
        vcpus: as many cores as AWS gives the type; the machine may have fewer.
    """

    units: int
    vcpus: int

    @property
    def memory_bytes(self) -> int:
        return memory_bytes(self.units)


def share_of(instance_type: str) -> Share:
    """The share of a type, by its size."""
    match = SIZE.match(instance_type)
    if match is None or match["word"] is None:
        return Share(UNITS, 10_000)
    times = int(match["times"] or 1)
    return Share(UNITS_BY_SIZE.get(match["size"], UNITS), VCPUS[match["word"]] * times)


def shares_of(instance_types: list[str]) -> list[Share]:
    """The shares of a job's instances, scaled down where they are more than the machine together."""
    shares = [share_of(instance_type) for instance_type in instance_types]
    total = sum(share.units for share in shares)
    if total <= UNITS:
        return shares
    least = 1 if len(shares) <= UNITS else 0  # more instances than units: nobody's memory is watched then
    units = [max(least, share.units * UNITS // total) for share in shares]
    while sum(units) > UNITS:
        units[units.index(max(units))] -= 1
    return [Share(number, share.vcpus) for number, share in zip(units, shares, strict=True)]


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

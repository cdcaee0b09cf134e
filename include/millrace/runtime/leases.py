"""What of this machine an instance holds while it runs: loopback addresses, a rendezvous port, cores, memory, GPUs.

Loopback addresses give every instance a resolvable host of its own; they do not separate rendezvous ports (torch's
store listens on every address), so each job also leases one. Leases live in the job's document: a restarted runtime
finds them there.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from .capacity import UNITS, Share, memory_bytes
from .ports import Ports

FIRST_PORT, LAST_PORT = 20_000, 29_999


@dataclass(frozen=True, slots=True)
class Lease:
    """A job's share. `hosts` maps host name to address; `cpus` lists each instance's cores, in the order of hosts,
    `units` the parts of the memory (`capacity.py`) that each holds, and `gpus` the UUIDs of each one's GPUs."""

    block: int
    port: int
    hosts: dict[str, str]
    cpus: list[list[int]]
    units: list[int] = field(default_factory=list)
    gpus: list[list[str]] = field(default_factory=list)

    def memory_of(self, index: int) -> int | None:
        """The bytes that an instance may hold; None where nobody watches, as where there are more instances than units."""
        return memory_bytes(self.units[index]) or None if self.units else None

    def gpus_of(self, index: int) -> list[str]:
        """The UUIDs of an instance's GPUs."""
        return self.gpus[index] if self.gpus else []


class Leases:
    """Hands out what no active job holds. Thread-safe; remembers only what it was told is held."""

    def __init__(self, max_instances: int = UNITS, gpus: Sequence[str] = ()) -> None:
        """
        Args:
            gpus: UUIDs of the GPUs to lease out.
        """
        self._max_instances = max_instances
        self._instances = 0
        self._units = 0
        self._lock = threading.Lock()
        self._blocks: set[int] = set()
        self._range = Ports(FIRST_PORT, LAST_PORT)
        self._ports: set[int] = set()
        self._gpus = list(gpus)
        self._held_gpus: set[str] = set()
        self._load: dict[int, int] = dict.fromkeys(sorted(os.sched_getaffinity(0)), 0)

    def lack(self, shares: Sequence[Share]) -> str:
        """What is missing to give a job these shares now; empty when nothing is."""
        with self._lock:
            return self._lack(shares)

    def take(self, shares: Sequence[Share], *, named_hosts: bool) -> Lease | None:
        """A lease of one share for each instance, or None while what is free does not suffice.

        With `named_hosts` they are algo-1, algo-2, …, resolvable inside a sandbox; else their names are the addresses.
        """
        count = len(shares)
        with self._lock:
            if self._lack(shares):
                return None
            port = self._free_port()
            block = next(number for number in range(1, 40_000) if number not in self._blocks)
            self._blocks.add(block)
            addresses = [_address(block, index) for index in range(1, count + 1)]
            names = [f"algo-{index}" for index in range(1, count + 1)] if named_hosts else addresses
            most = max(1, len(self._load) // count)
            cpus = [self._least_loaded(min(share.vcpus, most)) for share in shares]
            free = iter([gpu for gpu in self._gpus if gpu not in self._held_gpus])
            lease = Lease(
                block=block,
                port=port,
                hosts=dict(zip(names, addresses, strict=True)),
                cpus=cpus,
                units=[share.units for share in shares],
                gpus=[list(itertools.islice(free, share.gpus)) for share in shares],
            )
            self._held_gpus.update(itertools.chain(*lease.gpus))
            self._count(lease, 1)
        return lease

    def hold(self, lease: Lease) -> None:
        """Note a lease that a job of an earlier life of the runtime still has."""
        with self._lock:
            self._blocks.add(lease.block)
            self._ports.add(lease.port)
            self._held_gpus.update(itertools.chain(*lease.gpus))
            self._count(lease, 1)
            for core in (core for cpus in lease.cpus for core in cpus):
                self._load[core] = self._load.get(core, 0) + 1

    def free(self, lease: Lease) -> None:
        with self._lock:
            if lease.block not in self._blocks:
                return
            self._count(lease, -1)
            self._blocks.discard(lease.block)
            self._ports.discard(lease.port)
            self._held_gpus.difference_update(itertools.chain(*lease.gpus))
            for core in (core for cpus in lease.cpus for core in cpus):
                self._load[core] = max(0, self._load.get(core, 0) - 1)

    def _lack(self, shares: Sequence[Share]) -> str:
        units = sum(share.units for share in shares)
        if self._instances + len(shares) > self._max_instances:
            return f"{len(shares)} instances, and {self._max_instances - self._instances} of {self._max_instances} are free"
        if self._units + units > UNITS:
            return f"{units}/{UNITS} of this machine, and {max(0, UNITS - self._units)}/{UNITS} are free"
        gpus = sum(share.gpus for share in shares)
        free = sum(gpu not in self._held_gpus for gpu in self._gpus)
        if gpus > free:
            return f"{gpus} GPUs, and {free} of {len(self._gpus)} are free"
        return ""

    def _count(self, lease: Lease, sign: int) -> None:
        self._instances += sign * len(lease.hosts)
        self._units += sign * sum(lease.units)

    def _least_loaded(self, share: int) -> list[int]:
        chosen = sorted(sorted(self._load, key=lambda core: (self._load[core], core))[:share])
        for core in chosen:
            self._load[core] += 1
        return chosen

    def _free_port(self) -> int:
        # One that a job holds without listening on it, as most do, is free for all that the system knows.
        port = next(port for port in iter(self._range.take, None) if port not in self._ports)
        self._ports.add(port)
        return port


def lease_from(document: dict[str, object]) -> Lease:
    return Lease(**document)  # type: ignore[arg-type]


def _address(block: int, index: int) -> str:
    high, low = divmod(block, 250)
    return f"127.{64 + high}.{low + 1}.{index}"

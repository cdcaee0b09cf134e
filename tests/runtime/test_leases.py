"""What instances hold of the machine: nothing twice while it is held, everything again once it is free."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import socket
import threading

import pytest

from millrace.runtime.capacity import UNITS, Share
from millrace.runtime.leases import FIRST_PORT, LAST_PORT, Lease, Leases, lease_from

CORES = sorted(os.sched_getaffinity(0))
PLENTY = 10**6


def take(leases: Leases, count: int, *, named_hosts: bool = True) -> Lease:
    """A lease for instances that need no memory, so that any number fits."""
    lease = leases.take([Share(0, 10_000)] * count, named_hosts=named_hosts)
    assert lease is not None
    return lease


def test_named_hosts_are_algo_1_and_on_with_loopback_addresses_of_their_own() -> None:
    lease = take(Leases(PLENTY), 3)
    assert list(lease.hosts) == ["algo-1", "algo-2", "algo-3"]
    assert len(set(lease.hosts.values())) == 3
    for address in lease.hosts.values():
        assert ipaddress.ip_address(address).is_loopback
        assert address != "127.0.0.1"


def test_without_names_the_hosts_are_called_by_their_addresses() -> None:
    lease = take(Leases(PLENTY), 2, named_hosts=False)
    assert list(lease.hosts) == list(lease.hosts.values())


def test_jobs_that_run_together_share_neither_address_nor_port() -> None:
    leases = Leases(PLENTY)
    taken = [take(leases, 4) for _ in range(50)]
    addresses = [address for lease in taken for address in lease.hosts.values()]
    assert len(set(addresses)) == len(addresses) == 200
    assert len({lease.port for lease in taken}) == 50
    assert all(FIRST_PORT <= lease.port <= LAST_PORT for lease in taken)


def test_addresses_can_be_bound_at_the_leased_port() -> None:
    lease = take(Leases(PLENTY), 2)
    for address in lease.hosts.values():
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, lease.port))


def test_many_blocks_make_valid_addresses_that_differ() -> None:
    leases = Leases(PLENTY)
    for block in range(1, 39_900):
        leases.hold(Lease(block=block, port=FIRST_PORT, hosts={}, cpus=[]))
    taken = [take(leases, 16) for _ in range(20)]
    addresses = {ipaddress.ip_address(address) for lease in taken for address in lease.hosts.values()}
    assert len(addresses) == 320
    assert all(address.is_loopback for address in addresses)


def test_what_is_freed_is_leased_again() -> None:
    leases = Leases(PLENTY)
    first, second = take(leases, 1), take(leases, 1)
    leases.free(first)
    third = take(leases, 1)
    assert third.block == first.block
    assert third.port != second.port


def test_freeing_twice_gives_nothing_of_a_third_job_away() -> None:
    leases = Leases(PLENTY)
    first = take(leases, 1)
    leases.free(first)
    leases.free(first)
    taken = [take(leases, 1) for _ in range(3)]
    assert len({lease.block for lease in taken}) == 3


def test_a_lease_of_an_earlier_life_is_held_and_not_given_out() -> None:
    before = take(Leases(PLENTY), 2)
    leases = Leases(PLENTY)
    leases.hold(lease_from(json.loads(json.dumps(dataclasses.asdict(before)))))
    after = take(leases, 2)
    assert after.block != before.block
    assert after.port != before.port
    leases.free(before)
    assert take(leases, 1).block == before.block


def test_a_lease_survives_its_document() -> None:
    lease = take(Leases(PLENTY), 2)
    assert lease_from(json.loads(json.dumps(dataclasses.asdict(lease)))) == lease


def test_a_port_that_another_program_listens_on_is_passed_over() -> None:
    port = take(Leases(PLENTY), 1).port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert take(Leases(PLENTY), 1).port != port


def test_every_instance_gets_cores_and_they_are_spread() -> None:
    lease = take(Leases(PLENTY), len(CORES))
    assert sorted(core for cpus in lease.cpus for core in cpus) == CORES


def test_one_instance_alone_gets_every_core() -> None:
    assert take(Leases(PLENTY), 1).cpus == [CORES]


def test_more_instances_than_cores_share_them_evenly() -> None:
    lease = take(Leases(PLENTY), 3 * len(CORES))
    assert all(len(cpus) == 1 for cpus in lease.cpus)
    cores = [core for cpus in lease.cpus for core in cpus]
    assert {cores.count(core) for core in CORES} == {3}


def test_cores_that_are_held_are_taken_last() -> None:
    leases = Leases(PLENTY)
    held = Lease(block=9, port=FIRST_PORT, hosts={"algo-1": "127.64.10.1"}, cpus=[CORES[:1]])
    leases.hold(held)
    lease = take(leases, len(CORES))
    assert lease.cpus[-1] == CORES[:1]
    leases.free(lease)
    leases.free(held)
    assert take(leases, len(CORES)).cpus[0] == CORES[:1]


@pytest.mark.parametrize("threads", [8])
def test_threads_never_get_the_same(threads: int) -> None:
    leases, barrier = Leases(PLENTY), threading.Barrier(threads)
    taken: list[Lease] = []

    def take_ten() -> None:
        barrier.wait()
        taken.extend(take(leases, 1) for _ in range(10))

    workers = [threading.Thread(target=take_ten) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({lease.block for lease in taken}) == len({lease.port for lease in taken}) == 10 * threads


def test_memory_is_leased_until_none_is_left_and_comes_back() -> None:
    leases = Leases()
    half = [Share(UNITS // 2, 2)]
    first, second = leases.take(half, named_hosts=True), leases.take(half, named_hosts=True)
    assert first and second
    assert leases.take([Share(1, 2)], named_hosts=True) is None
    assert leases.lack([Share(1, 2)]) == f"1/{UNITS} of this machine, and 0/{UNITS} are free"
    leases.free(first)
    assert leases.lack([Share(1, 2)]) == ""
    assert leases.take(half, named_hosts=True) is not None


def test_instances_are_leased_up_to_their_number() -> None:
    leases = Leases(2)
    assert leases.take([Share(1, 2)] * 2, named_hosts=True) is not None
    assert leases.lack([Share(1, 2)]) == "1 instances, and 0 of 2 are free"


def test_memory_of_an_earlier_life_is_held() -> None:
    before = Leases().take([Share(UNITS, 2)], named_hosts=True)
    assert before is not None
    leases = Leases()
    leases.hold(lease_from(dataclasses.asdict(before)))
    assert leases.take([Share(1, 2)], named_hosts=True) is None


def test_instance_gets_no_more_cores_than_its_type_has() -> None:
    lease = Leases().take([Share(1, 1)], named_hosts=True)
    assert lease is not None
    assert [len(cores) for cores in lease.cpus] == [1]

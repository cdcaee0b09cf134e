"""Ports for processes to come: free, and none twice."""

from __future__ import annotations

import socket

import pytest

from millrace.runtime import fleet, leases
from millrace.runtime.ports import Ports
from tests.runtime.process import three_free_ports

FIRST, LAST = 9_300, 9_309


def test_each_port_is_handed_out_once_before_any_is_again() -> None:
    ports = Ports(FIRST, LAST)
    once = [ports.take() for _ in range(FIRST, LAST + 1)]
    assert sorted(once) == [*range(FIRST, LAST + 1)]
    assert [ports.take() for _ in once] == once


def test_one_on_which_somebody_listens_is_passed_over_and_nothing_free_is_an_error() -> None:
    ports = Ports(FIRST, FIRST + 1)
    with socket.create_server(("127.0.0.1", FIRST)):
        assert {ports.take() for _ in range(4)} == {FIRST + 1}
        with (
            socket.create_server(("127.0.0.1", FIRST + 1)),
            pytest.raises(OSError, match="between 9300 and 9301 is free"),
        ):
            ports.take()


def test_two_runtimes_do_not_walk_side_by_side() -> None:
    assert len({Ports(leases.FIRST_PORT, leases.LAST_PORT).take() for _ in range(20)}) > 10


def test_the_ranges_of_servers_tests_and_jobs_are_apart_and_below_what_linux_gives_away() -> None:
    assert fleet.LAST_PORT < three_free_ports() < leases.FIRST_PORT < leases.LAST_PORT < 32_768

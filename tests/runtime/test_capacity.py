"""What instance types are on this machine."""

from __future__ import annotations

import pytest

from millrace.runtime import capacity
from millrace.runtime.capacity import UNITS, Share, share_of, shares_of


@pytest.mark.parametrize(
    ("instance_type", "share"),
    [
        ("ml.t3.medium", Share(1, 2)),
        ("ml.m5.large", Share(2, 2)),
        ("ml.m5.xlarge", Share(4, 4)),
        ("ml.c5.2xlarge", Share(8, 8)),
        ("ml.g4dn.12xlarge", Share(UNITS, 48, 4)),
        ("ml.m7i-flex.large", Share(2, 2)),
        ("ml.something.new", Share(UNITS, 10_000)),
    ],
)
def test_size_decides_the_share(instance_type: str, share: Share) -> None:
    assert share_of(instance_type) == share


def test_job_larger_than_the_machine_is_scaled_down_to_it() -> None:
    shares = shares_of(["ml.p4d.24xlarge"] * 3 + ["ml.m5.large"])
    assert sum(share.units for share in shares) <= UNITS
    assert all(share.units >= 1 for share in shares)
    assert shares[0].units > shares[3].units


def test_scaled_shares_never_sum_to_more_than_the_machine() -> None:
    for count in range(1, 40):
        shares = shares_of(["ml.m5.24xlarge"] + ["ml.t3.medium"] * count)
        assert sum(share.units for share in shares) <= UNITS


def test_sixteen_instances_fit_whatever_they_are() -> None:
    assert [share.units for share in shares_of(["ml.p4d.24xlarge"] * UNITS)] == [1] * UNITS


def test_memory_is_a_part_of_the_machines() -> None:
    assert (
        share_of("ml.m5.xlarge").memory_bytes * 4
        <= capacity.machine_memory()
        < share_of("ml.m5.4xlarge").memory_bytes + 4
    )

"""What a job has cost, and what it may cost at most: seconds that AWS bills, times instances, times a price.

An estimate: on-demand compute only, without storage, transfer, taxes and free tiers. Amounts are decimals, rounded up to
a millionth of a dollar, so that no sum of them understates. What has no price is unknown and says why; it is never 0.
What it does not do: it keeps no account (`ledger` does).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any

from .kinds import JobKind
from .prices import HOSTING, VARIABLE, Prices

MICRO = Decimal("0.000001")
HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An amount, and what it is made of.

    Raises:
        ValueError: it has both an amount and a reason for having none, or neither.
    """

    seconds: int
    """Of each instance, as AWS counts them."""
    instances: int
    instance_type: str
    usd: Decimal | None
    why_unknown: str = ""
    price_table: str = ""
    """The date and region of the price, when there is one."""

    def __post_init__(self) -> None:
        if (self.usd is None) != bool(self.why_unknown):
            raise ValueError(
                f"an estimate has an amount or a reason for having none, not {self.usd} and {self.why_unknown!r}"
            )

    @property
    def instance_seconds(self) -> int:
        """Of all instances together: what is paid for."""
        return self.seconds * self.instances


def billable_seconds(kind: JobKind, description: Mapping[str, Any]) -> int:
    """The seconds that AWS bills for each instance of a job; 0 while it is active, or when it never started.

    AWS counts them itself for training (BillableTimeInSeconds, which is less than the wall-clock time under managed spot
    training, and is to be multiplied by the number of instances); for the other kinds it bills from the start field to
    the end field of the description.
    """
    counted = description.get("BillableTimeInSeconds")
    if counted is not None:
        return int(counted)
    start, end = description.get(kind.start_field), description.get(kind.end_field)
    if not isinstance(start, datetime) or not isinstance(end, datetime):
        return 0
    return max(0, math.ceil((end - start).total_seconds()))


def estimate(kind: JobKind, description: Mapping[str, Any], prices: Prices) -> Estimate:
    """What the job of a Describe answer has cost."""
    return _of_cluster(kind, description, billable_seconds(kind, description), prices)


def ceiling(kind: JobKind, request: Mapping[str, Any], prices: Prices, timeout: timedelta | None = None) -> Estimate:
    """What the job of a Create request may cost at most: every instance until the job is stopped for taking too long.

    SageMaker stops it at the request's MaxRuntimeInSeconds. A request that has none (a transform job's cannot) is counted
    until `timeout`, at which its operator stops it. What a job is given after that to save its work is not counted.
    """
    stopping = request.get("StoppingCondition") or {}
    seconds = stopping.get("MaxRuntimeInSeconds") or (timeout and math.ceil(timeout.total_seconds()))
    if seconds:
        return _of_cluster(kind, request, int(seconds), prices)
    bare = _of_cluster(kind, request, 0, prices)
    return Estimate(
        seconds=0, instances=bare.instances, instance_type=bare.instance_type, usd=None,
        why_unknown=f"the {kind.name} job may run for ever: give it a maximum runtime or a timeout",
    )  # fmt: skip


def hourly(instance_type: str, count: int, prices: Prices) -> Estimate:
    """What an endpoint on so many instances costs an hour, from its creation until it is deleted."""
    return priced(HOSTING, instance_type, count, HOUR, prices)


def priced(use: str, instance_type: str, instances: int, seconds: int, prices: Prices) -> Estimate:
    """The price of so many seconds on so many instances; `use` is a job kind's name, or `hosting`."""
    price = prices.of(use, instance_type)
    if price is None:
        return Estimate(
            seconds=seconds, instances=instances, instance_type=instance_type, usd=None,
            why_unknown=f"the price of {instance_type} for {use} is not known: give it in a file that {VARIABLE} names",
        )  # fmt: skip
    usd = (price.per_hour * seconds * instances / HOUR).quantize(MICRO, ROUND_CEILING)
    return Estimate(seconds=seconds, instances=instances, instance_type=instance_type, usd=usd, price_table=price.table)


def shown(usd: Decimal) -> str:
    """An amount for a person: all its digits, and two after the point at least."""
    whole, _, rest = f"{usd:f}".partition(".")
    return f"${whole}.{rest.rstrip('0'):0<2}"


def _of_cluster(kind: JobKind, document: Mapping[str, Any], seconds: int, prices: Prices) -> Estimate:
    cluster: Any = document
    for member in kind.cluster:
        cluster = cluster.get(member) or {}
    instance_type, instances = cluster.get("InstanceType"), cluster.get("InstanceCount")
    if not instance_type or not instances:
        return Estimate(
            seconds=seconds, instances=0, instance_type="", usd=None,
            why_unknown=f"{'.'.join(kind.cluster)} names no InstanceType and InstanceCount, and no other way is priced",
        )  # fmt: skip
    return priced(kind.name, instance_type, int(instances), seconds, prices)

"""What the soak does next: one table of deeds, one of jobs, one of faults, and dice for each draw.

The same seed gives the same draws: the deed of number n and its dice do not depend on what the runtime has done meanwhile,
nor on how much of its dice an earlier deed has used. What a deed that picks among what is there (a stop, say) hits does.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from millrace.runtime.fault_plan import Rule
from millrace.runtime.faults import CrashHost, Delay, FailJob, InterruptJob, LoseResponse, Throttle
from tests.soak import work
from tests.soak.work import Work, weighted

DEEDS: Mapping[str, int] = {
    "create_job": 50,
    "stop_job": 12,
    "put_object": 26,
    "delete_object": 10,
    "update_pool": 8,
    "look_at_checkpoint": 8,
    "create_endpoint": 2,
    "invoke_endpoint": 8,
    "update_endpoint": 2,
    "delete_endpoint": 1,
    "kill_server": 1,
    "kill_runtime": 6,
    "plan_fault": 8,
}
"""How often each is drawn, in proportion. The names are those of the methods that do them."""
JOBS: Mapping[Callable[[str, random.Random], Work], int] = {
    work.processing: 16,
    work.spot: 4,
    work.pool: 10,
    work.checkpoint: 6,
    work.channel: 8,
    work.exchange: 6,
}
KILLED_FIRST = (None, None, "millrace.runtime.control", "millrace.runtime.control", "millrace.runtime.router")
"""Which process of the runtime is killed before its front is; the front takes the others with it."""
LONG = 3600
"""Until another plan is drawn."""
FAULTS: tuple[Callable[[], Rule], ...] = (
    lambda: Rule(Throttle(), operation="Describe*", times=2),
    lambda: Rule(LoseResponse(), operation="CreateProcessingJob", times=1),
    lambda: Rule(LoseResponse(), operation="CreateTrainingJob", times=1),
    lambda: Rule(LoseResponse(), operation="UpdateTrainingJob", times=1),
    lambda: Rule(LoseResponse(), operation="*Endpoint", times=1),
    lambda: Rule(Delay(after_seconds=0.2), operation="Stop*", times=1),
    lambda: Rule(FailJob(reason=work.DRAWN_FAILURE), operation="CreateProcessingJob", times=1),
    lambda: Rule(CrashHost(run_seconds=0.1), operation="CreateTrainingJob", times=1),
    lambda: Rule(CrashHost(run_seconds=1.5), operation="CreateTrainingJob", name="*-checkpoint", seconds=LONG),
    lambda: Rule(InterruptJob(run_seconds=0.3), operation="CreateTrainingJob", name="*-spot", times=1),
    lambda: Rule(
        InterruptJob(run_seconds=1.0, strikes_in_all=2),
        operation="CreateTrainingJob",
        name="*-checkpoint",
        seconds=LONG,
    ),
)
FAULTS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Draw:
    """One deed and the dice to do it with."""

    number: int
    deed: str
    dice: random.Random

    def job(self) -> Work:
        make = weighted(self.dice, JOBS)
        return make(f"soak-{self.number:06}-{make.__name__}", self.dice)


def draws(seed: int) -> Iterator[Draw]:
    order = random.Random(seed)
    for number in itertools.count():
        yield Draw(number, weighted(order, DEEDS), random.Random(f"{seed}/{number}"))

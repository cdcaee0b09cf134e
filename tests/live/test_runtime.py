"""The other end of the wire: the runtime dies, or answers for a minute that there are too many calls."""

from __future__ import annotations

import time

import pytest

from millrace.runtime import fault_plan
from millrace.runtime.faults import Throttle
from tests.live.gates import JOB_WAITS
from tests.live.matrix import Case
from tests.live.postgres import needs_postgres
from tests.live.runs import start
from tests.live.stack import LiveAirflow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), needs_postgres]
GONE_SECONDS = 8
THROTTLED_SECONDS = 60


def test_runtime_killed(live: LiveAirflow, case: Case) -> None:
    """kill -9 of the runtime while one task is deferred and one waits in a worker; started again after 8 s. Jobs go on."""
    deferred, in_worker = start(live, "deferred"), start(live, "in_worker")
    case.watch(deferred, in_worker)
    deferred.until_watched()
    in_worker.until_log(JOB_WAITS)
    live.runtime.kill()
    time.sleep(GONE_SECONDS)
    live.runtime.start()
    for run in (deferred, in_worker):
        run.let_finish()
    assert [deferred.end(), in_worker.end()] == ["success", "success"]
    for run in (deferred, in_worker):
        assert run.generations() == [(0, "Completed")]
        assert len(run.attempts()) == 1


def test_throttled_for_a_minute(live: LiveAirflow, case: Case) -> None:
    """Every call of SageMaker and of its logs is refused with ThrottlingException for 60 s: one task is deferred then, one
    waits in a worker, and one is only about to submit."""
    deferred, in_worker = start(live, "deferred"), start(live, "in_worker")
    deferred.until_watched()
    in_worker.until_log(JOB_WAITS)
    rule = fault_plan.Rule(Throttle(), operation="sagemaker:*", seconds=THROTTLED_SECONDS)
    live.add_fault(rule)
    live.add_fault(fault_plan.Rule(Throttle(), operation="logs:*", seconds=THROTTLED_SECONDS))
    submitting = start(live, "deferred")
    case.watch(deferred, in_worker, submitting)
    submitting.until("running")
    time.sleep(THROTTLED_SECONDS)
    befallen = {line.operation for line in fault_plan.dealt(live.runtime.data_dir) if line.rule == rule.id}
    assert {"DescribeProcessingJob"} <= befallen
    submitting.until_watched()
    for run in (deferred, in_worker, submitting):
        run.let_finish()
        assert run.end() == "success"
        assert run.generations() == [(0, "Completed")]
        assert len(run.attempts()) == 1

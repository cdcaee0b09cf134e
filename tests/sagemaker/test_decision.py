"""The decision that keeps a retry from paying twice, over everything it can be shown."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sagemaker.decision import Action, Observed, OnClear, decide
from millrace.sagemaker.kinds import Outcome

OBSERVED = st.builds(
    Observed, outcome=st.sampled_from(Outcome), owned=st.booleans(), same_request=st.booleans()
)  # fmt: skip
ON_CLEAR: st.SearchStrategy[OnClear] = st.sampled_from(("rerun", "adopt"))
ENDED_BADLY = (Outcome.FAILED, Outcome.STOPPED)
EVERYTHING = [
    (Observed(outcome=outcome, owned=owned, same_request=same), cleared, on_clear)
    for outcome, owned, same, cleared, on_clear in itertools.product(
        Outcome, (True, False), (True, False), (True, False), ("rerun", "adopt")
    )
]


@given(st.booleans(), ON_CLEAR)
def test_no_job_of_the_name_is_submitted_whatever_the_user_did(cleared: bool, on_clear: OnClear) -> None:
    assert decide(None, cleared=cleared, on_clear=on_clear).action is Action.SUBMIT


@given(OBSERVED, st.booleans(), ON_CLEAR)
def test_an_existing_job_is_never_submitted_over(observed: Observed, cleared: bool, on_clear: OnClear) -> None:
    assert decide(observed, cleared=cleared, on_clear=on_clear).action is not Action.SUBMIT


@given(OBSERVED, st.booleans(), ON_CLEAR)
def test_a_job_is_refused_exactly_when_it_is_somebody_elses(
    observed: Observed, cleared: bool, on_clear: OnClear
) -> None:
    refused = decide(observed, cleared=cleared, on_clear=on_clear).action is Action.REFUSE
    assert refused is not observed.owned


@given(st.booleans(), ON_CLEAR)
def test_our_running_job_is_adopted_unless_the_task_was_cleared(same_request: bool, on_clear: OnClear) -> None:
    running = Observed(outcome=Outcome.ACTIVE, owned=True, same_request=same_request)
    assert decide(running, cleared=False, on_clear=on_clear).action is Action.ADOPT


def test_adopting_a_job_whose_request_has_changed_says_so() -> None:
    def reason(same_request: bool) -> str:
        running = Observed(outcome=Outcome.ACTIVE, owned=True, same_request=same_request)
        return decide(running, cleared=False, on_clear="rerun").reason

    assert "changed" in reason(False)
    assert "changed" not in reason(True)


@given(st.sampled_from(ENDED_BADLY), st.booleans(), st.booleans(), ON_CLEAR)
def test_a_job_that_ended_badly_is_run_again_and_never_taken_as_done(
    outcome: Outcome, same_request: bool, cleared: bool, on_clear: OnClear
) -> None:
    ended = Observed(outcome=outcome, owned=True, same_request=same_request)
    decision = decide(ended, cleared=cleared, on_clear=on_clear)
    assert decision.action is Action.RESUBMIT
    assert decision.reason


@pytest.mark.parametrize(("observed", "cleared", "on_clear"), EVERYTHING)
def test_a_job_is_done_only_when_it_is_ours_and_succeeded_for_an_equal_request(
    observed: Observed, cleared: bool, on_clear: OnClear
) -> None:
    done = decide(observed, cleared=cleared, on_clear=on_clear).action is Action.DONE
    reusable = observed.owned and observed.outcome is Outcome.SUCCEEDED and observed.same_request
    assert done is (reusable and not (cleared and on_clear == "rerun"))


@given(OBSERVED)
def test_clearing_with_adopt_changes_nothing(observed: Observed) -> None:
    assert decide(observed, cleared=True, on_clear="adopt") == decide(observed, cleared=False, on_clear="adopt")


@given(st.sampled_from(Outcome), st.booleans())
def test_clearing_with_rerun_runs_our_job_again_however_it_stands(outcome: Outcome, same_request: bool) -> None:
    ours = Observed(outcome=outcome, owned=True, same_request=same_request)
    assert decide(ours, cleared=True, on_clear="rerun").action is Action.RESUBMIT

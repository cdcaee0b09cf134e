"""A smoke request: answered, as expected, soon enough; and what is said when it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from operators.failures import RETRY_POLICY, Refused, StepFailed
from operators.invoke import TEXT_BYTES, InvokeEndpointOperator
from tests.operators.attempts import Attempts
from tests.operators.steps import Steps
from tests.runtime.process import until

HANDLERS = """
import time
def model_fn(model_dir): return None
def transform_fn(model, body, content_type, accept):
    text = body.decode()
    if text == "angry": raise RuntimeError("no")
    if text == "slow": time.sleep(0.3)
    return {"mute": "", "blank": "  \\n", "long": "7" * 5000 + "end"}.get(text, f"{text}|{content_type}|{accept}")
"""


@pytest.fixture(scope="module")
def ask(worker: Callable[[], Any]) -> Any:
    """Asks an endpoint that serves, in one attempt."""
    with worker() as steps:
        config = steps.jobs.endpoint_config(steps.jobs.model(HANDLERS))
        name = f"{steps.deployment}-echo"
        sagemaker = steps.jobs.sagemaker
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        until(
            lambda: sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService", 60, "the endpoint"
        )

        def once(body: str, **options: Any) -> tuple[Any, Attempts]:
            attempts = Attempts()
            return attempts.execute(
                InvokeEndpointOperator(task_id="ask", endpoint="echo", body=body, **options)
            ), attempts

        yield once


def test_answer_comes_with_its_time_and_variant(ask: Any) -> None:
    result, attempts = ask("1,2")
    assert set(result) == {"endpoint", "answer", "milliseconds", "variant"}
    assert (result["answer"], result["variant"]) == ("1,2|text/csv|text/csv", "v0")
    assert attempts.ti.xcom["answer"] == result["answer"]
    assert attempts.ti.xcom["sagemaker_endpoint_link"].endswith(f"/console/endpoints/{result['endpoint']}")


def test_content_type_is_asked_for_and_sent(ask: Any) -> None:
    assert ask("{}", content_type="application/json")[0]["answer"] == "{}|application/json|application/json"


def test_only_the_beginning_of_an_answer_is_kept_and_looked_at(ask: Any) -> None:
    result, _ = ask("long", expected="^7+$")
    assert result["answer"] == "7" * TEXT_BYTES
    with pytest.raises(StepFailed):
        ask("long", expected="end")


def test_answer_that_is_not_expected_fails_and_is_shown(ask: Any) -> None:
    with pytest.raises(StepFailed, match=r"answered 'a\|text/csv\|text/csv', in which '\^b' is not to be found"):
        ask("a", expected="^b")


def test_answer_that_comes_too_late_fails(ask: Any) -> None:
    with pytest.raises(StepFailed, match="ms to answer; at most 200 are allowed"):
        ask("slow", most_milliseconds=200)
    assert ask("slow", most_milliseconds=20_000)[0]["milliseconds"] >= 300


@pytest.mark.parametrize("body", ["mute", "blank"])
def test_empty_answer_is_none(ask: Any, body: str) -> None:
    with pytest.raises(StepFailed, match="gave an empty answer"):
        ask(body)


def test_handler_that_fails_may_be_asked_again(ask: Any) -> None:
    with pytest.raises(StepFailed, match="ModelError") as raised:
        ask("angry")
    assert RETRY_POLICY.evaluate(raised.value, 1, 3).action.value == "default"


def test_endpoint_that_is_not_there_is_refused_for_good(steps: Steps) -> None:
    with pytest.raises(Refused, match=r"asking endpoint \S+-nowhere"):
        Attempts().execute(InvokeEndpointOperator(task_id="ask", endpoint="nowhere", body="x"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"most_milliseconds": 0}, "most_milliseconds is 0; it must be more than 0"),
        ({"expected": "["}, r"expected is '\[', which is not a regular expression"),
        ({"endpoint": ""}, "endpoint is ''; it must hold a letter or a digit"),
        ({"endpoint": "e" * 47}, r"\(47 characters\); at most 46"),
    ],
)
def test_wrong_literal_is_refused_when_the_dag_is_parsed(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        InvokeEndpointOperator(**{"task_id": "ask", "endpoint": "echo", "body": "x"} | wrong)
    InvokeEndpointOperator(task_id="ask", endpoint="{{ params.endpoint }}", body="x", expected="{% raw %}({% endraw %}")

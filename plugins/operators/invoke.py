"""InvokeEndpointOperator: ask an endpoint something and hold its answer against what is expected."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.preflight import PreflightError, is_template
from operators.clients import client
from operators.endpoint import EndpointOperator
from operators.failures import StepFailed, typed_failures

if TYPE_CHECKING:
    from airflow.sdk import Context

TEXT_BYTES = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """The beginning of what an endpoint answered, and how long it took."""

    text: str
    milliseconds: float
    variant: str


def ask(runtime: Any, endpoint: str, body: str, content_type: str) -> Answer:
    """Send one request; `runtime` is a boto3 client of sagemaker-runtime.

    Raises:
        StepFailed: the answer was empty.
        botocore.exceptions.ClientError: there was none.
    """
    begun = time.perf_counter()
    answer = runtime.invoke_endpoint(
        EndpointName=endpoint, ContentType=content_type, Accept=content_type, Body=body.encode()
    )
    text = str(answer["Body"].read(TEXT_BYTES).decode(errors="replace").strip())
    milliseconds = (time.perf_counter() - begun) * 1000
    if not text:
        raise StepFailed(f"endpoint {endpoint} gave an empty answer")
    return Answer(text, round(milliseconds, 1), answer.get("InvokedProductionVariant", ""))


class InvokeEndpointOperator(EndpointOperator):
    """A smoke request: the endpoint must answer, as expected and soon enough.

    `.output["answer"]` is the beginning of the answer, at most 300 bytes.

    Args:
        endpoint: the endpoint's name, behind the deployment's id.
        body: the request.
        content_type: of request and answer, for example `text/csv`.
        expected: a regular expression that must be found in the answer's beginning.
        most_milliseconds: how long the answer may take.

    Raises:
        PreflightError: `expected` is not a regular expression, or `most_milliseconds` is not more than 0 (on parse).

    Example::

        smoke = InvokeEndpointOperator(
            task_id="smoke", endpoint="digits", body=settings.smoke_body, expected=r"^[0-9]", most_milliseconds=500
        )
    """

    template_fields: Sequence[str] = (*EndpointOperator.template_fields, "body", "expected")

    def __init__(
        self,
        *,
        body: str,
        content_type: str = "text/csv",
        expected: str | None = None,
        most_milliseconds: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if most_milliseconds is not None and most_milliseconds <= 0:
            raise PreflightError(f"most_milliseconds is {most_milliseconds}; it must be more than 0")
        if isinstance(expected, str) and not is_template(expected):
            _check_pattern(expected)
        self.body = body
        self.content_type = content_type
        self.expected = expected
        self.most_milliseconds = most_milliseconds

    def execute(self, context: Context) -> dict[str, Any]:
        name = self._name(Deployment.from_environment())
        if self.expected is not None:
            _check_pattern(self.expected)
        self._link(context, name)
        with typed_failures(f"asking endpoint {name}"):
            answer = ask(
                client("sagemaker-runtime", self.aws_conn_id, self.region_name), name, self.body, self.content_type
            )
        self.log.info("endpoint %s answered in %.1f ms: %s", name, answer.milliseconds, answer.text)
        if self.expected is not None and not re.search(self.expected, answer.text):
            raise StepFailed(f"endpoint {name} answered {answer.text!r}, in which {self.expected!r} is not to be found")
        if self.most_milliseconds is not None and answer.milliseconds > self.most_milliseconds:
            raise StepFailed(
                f"endpoint {name} took {answer.milliseconds} ms to answer; at most {self.most_milliseconds} are allowed"
            )
        context["ti"].xcom_push(key="answer", value=answer.text)
        self._result = {
            "endpoint": name,
            "answer": answer.text,
            "milliseconds": answer.milliseconds,
            "variant": answer.variant,
        }
        return self._result


def _check_pattern(expected: str) -> None:
    """
    Raises:
        PreflightError: it is not a regular expression.
    """
    try:
        re.compile(expected)
    except re.error as error:
        raise PreflightError(f"expected is {expected!r}, which is not a regular expression: {error}") from error

"""The links of a task: the console of the right partition on AWS, the endpoint's own page anywhere else."""

from __future__ import annotations

import boto3
import pytest

from millrace.runtime.faults import FailJob
from millrace.sagemaker.kinds import KINDS
from operators.failures import StepFailed
from operators.links import EndpointLink, JobLink
from tests.operators.attempts import Attempts
from tests.operators.steps import HELD, Steps


@pytest.mark.parametrize(
    ("region", "console"),
    [
        ("eu-central-1", "https://eu-central-1.console.aws.amazon.com"),
        ("cn-north-1", "https://cn-north-1.console.amazonaws.cn"),
        ("us-gov-west-1", "https://console.amazonaws-us-gov.com"),
    ],
)
def test_on_aws_the_link_leads_to_the_console(region: str, console: str) -> None:
    sagemaker = boto3.client("sagemaker", region_name=region, aws_access_key_id="any", aws_secret_access_key="any")
    begin = f"{console}/sagemaker/home?region={region}#/"
    for kind in KINDS.values():
        assert JobLink.url(sagemaker, kind, "one-step-1") == f"{begin}{kind.name}-jobs/one-step-1"
    assert EndpointLink.url(sagemaker, "one-digits") == f"{begin}endpoints/one-digits"


def test_link_is_there_while_the_job_runs(steps: Steps) -> None:
    attempts = Attempts()
    steps.deal(HELD)
    attempts.defer(steps.operator())
    (name,) = steps.names()
    assert attempts.ti.xcom[JobLink.xcom_key_name] == f"{steps.runtime.url}/console/processing-jobs/{name}"


def test_link_leads_to_the_job_that_failed_and_then_to_the_retrys(steps: Steps) -> None:
    attempts = Attempts()
    steps.deal(FailJob(reason="InternalServerError: no"))
    for _ in range(2):
        with pytest.raises(StepFailed):
            attempts.execute(steps.operator())
        assert attempts.ti.xcom[JobLink.xcom_key_name].endswith(f"/{steps.names()[-1]}")
    assert len(steps.names()) == 2

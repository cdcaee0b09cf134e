"""What jobs cost: AWS's own count of seconds, every instance, rounded up, and never a zero for what is not known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from hypothesis import given
from hypothesis import strategies as st

from millrace.sagemaker.cost import Estimate, billable_seconds, ceiling, estimate, hourly, priced, shown
from millrace.sagemaker.kinds import KINDS, PROCESSING, TRAINING, TRANSFORM, JobKind
from millrace.sagemaker.prices import Price, Prices, shipped
from millrace.sagemaker.requests import Cluster, ProcessingRequest, TrainingRequest, TransformRequest
from tests.runtime.jobs import Jobs

START = datetime(2026, 1, 1, tzinfo=UTC)
ROLE = "arn:aws:iam::123456789012:role/jobs"
SECONDS = st.integers(0, 10 * 24 * 3600)
COUNTS = st.integers(1, 500)
PRICES = st.decimals("0.0001", "10000", places=6)
MODEL = ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


def request_of(
    kind: JobKind, instance_type: str = "ml.m5.large", count: int = 1, seconds: int = 3600
) -> dict[str, Any]:
    cluster = Cluster(instance_type=instance_type, instance_count=count)
    if kind is TRAINING:
        return TrainingRequest(
            job_name="job", role_arn=ROLE, image="image", program="train.py", code_uri="s3://bucket/code.tar.gz",
            output_uri="s3://bucket/output", cluster=cluster, channels={}, max_runtime_seconds=seconds,
        ).to_api()  # fmt: skip
    if kind is PROCESSING:
        return ProcessingRequest(
            job_name="job", role_arn=ROLE, image="image", module="job", code_uri="s3://bucket/code.tar.gz",
            cluster=cluster, max_runtime_seconds=seconds,
        ).to_api()  # fmt: skip
    return TransformRequest(
        job_name="job", model_name="model", input_uri="s3://bucket/in", output_uri="s3://bucket/out", cluster=cluster
    ).to_api()


def ended(kind: JobKind, seconds: float, **more: Any) -> dict[str, Any]:
    times = {kind.start_field: START, kind.end_field: START + timedelta(seconds=seconds)}
    return {**request_of(kind), **times, **more}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> JobKind:
    found: JobKind = request.param
    return found


def test_the_fields_of_the_table_are_botocores_in_description_and_request(kind: JobKind) -> None:
    requested: Any = MODEL.operation_model(kind.operation).input_shape
    described: Any = MODEL.operation_model(kind.operation.replace("Create", "Describe")).output_shape
    for field in (kind.start_field, kind.end_field):
        assert described.members[field].type_name == "timestamp"
    for shape in (described, requested):
        for member in kind.cluster:
            shape = shape.members[member]
        assert {"InstanceType", "InstanceCount"} <= set(shape.members)


def test_time_from_start_to_end_is_billed_in_whole_seconds_rounded_up(kind: JobKind) -> None:
    assert billable_seconds(kind, ended(kind, 60)) == 60
    assert billable_seconds(kind, ended(kind, 60.2)) == 61


def test_awss_own_count_goes_before_the_clock() -> None:
    assert billable_seconds(TRAINING, ended(TRAINING, 500, BillableTimeInSeconds=100)) == 100
    assert billable_seconds(TRAINING, ended(TRAINING, 500, BillableTimeInSeconds=0)) == 0


def test_a_job_that_runs_or_never_started_has_no_billable_seconds(kind: JobKind) -> None:
    description = ended(kind, 60)
    assert billable_seconds(kind, {}) == 0
    assert billable_seconds(kind, {k: v for k, v in description.items() if k != kind.end_field}) == 0
    assert billable_seconds(kind, {k: v for k, v in description.items() if k != kind.start_field}) == 0
    assert billable_seconds(kind, {**description, kind.start_field: None}) == 0
    assert billable_seconds(kind, ended(kind, -5)) == 0


def test_every_instance_is_paid_and_the_seconds_are_those_of_one() -> None:
    description = request_of(TRAINING, count=4) | {"BillableTimeInSeconds": 1800}
    found = estimate(TRAINING, description, shipped())
    assert (found.seconds, found.instances, found.instance_seconds) == (1800, 4, 7200)
    assert found.usd == Decimal("0.23")  # two instance-hours of 0.115
    assert (found.instance_type, found.why_unknown, found.price_table) == ("ml.m5.large", "", "2026-09 us-east-1")


def test_a_request_may_cost_its_maximum_runtime_on_every_instance() -> None:
    for kind in (TRAINING, PROCESSING):
        found = ceiling(kind, request_of(kind, count=2, seconds=7200), shipped(), timeout=timedelta(seconds=1))
        assert (found.seconds, found.usd) == (7200, Decimal("0.46"))


def test_a_transform_job_may_cost_until_its_operators_timeout() -> None:
    found = ceiling(TRANSFORM, request_of(TRANSFORM, count=2), shipped(), timeout=timedelta(hours=2))
    assert (found.seconds, found.usd) == (7200, Decimal("0.46"))


def test_what_may_run_for_ever_has_no_ceiling_and_says_so() -> None:
    request = {k: v for k, v in request_of(PROCESSING).items() if k != "StoppingCondition"}
    for kind, asked in ((TRANSFORM, request_of(TRANSFORM)), (PROCESSING, request)):
        found = ceiling(kind, asked, shipped())
        assert (found.usd, found.instance_type) == (None, "ml.m5.large")
        assert found.why_unknown == f"the {kind.name} job may run for ever: give it a maximum runtime or a timeout"


def test_a_type_without_a_price_is_unknown_by_name_and_never_zero(kind: JobKind) -> None:
    for seconds in (0, 60):
        found = estimate(kind, ended(kind, seconds) | request_of(kind, "ml.m4.xlarge"), shipped())
        assert (found.usd, found.seconds) == (None, seconds)
        assert found.why_unknown == (
            f"the price of ml.m4.xlarge for {kind.name} is not known: give it in a file that MILLRACE_PRICES names"
        )


def test_instances_that_are_named_in_another_way_are_unknown() -> None:
    groups = [{"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 2}]
    description = {"ResourceConfig": {"InstanceGroups": groups}, "BillableTimeInSeconds": 60}
    found = estimate(TRAINING, description, shipped())
    assert (found.usd, found.seconds) == (None, 60)
    assert found.why_unknown.startswith("ResourceConfig names no InstanceType")
    assert estimate(PROCESSING, {}, shipped()).why_unknown.startswith("ProcessingResources.ClusterConfig names no")


def test_an_endpoint_is_paid_by_the_hour_for_each_instance() -> None:
    found = hourly("ml.c5.large", 3, shipped())
    assert (found.seconds, found.instances, found.usd) == (3600, 3, Decimal("0.306"))
    assert "ml.m4.xlarge for hosting is not known" in hourly("ml.m4.xlarge", 1, shipped()).why_unknown


@pytest.mark.parametrize(("usd", "why"), [(None, ""), (Decimal(1), "because")])
def test_an_estimate_has_an_amount_or_a_reason(usd: Decimal | None, why: str) -> None:
    with pytest.raises(ValueError, match="an amount or a reason"):
        Estimate(seconds=1, instances=1, instance_type="ml.m5.large", usd=usd, why_unknown=why)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.00"),
        ("0.000000", "$0.00"),
        ("1.5", "$1.50"),
        ("0.057500", "$0.0575"),
        ("12", "$12.00"),
        ("1E+2", "$100.00"),
    ],
)
def test_amounts_are_shown_with_all_their_digits(amount: str, text: str) -> None:
    assert shown(Decimal(amount)) == text


@given(PRICES, SECONDS, COUNTS)
def test_an_amount_is_exact_but_for_less_than_a_millionth_and_never_too_low(
    per_hour: Decimal, seconds: int, count: int
) -> None:
    prices = Prices({"training": {"ml.m5.large": Price(per_hour, "table")}})
    usd = priced("training", "ml.m5.large", count, seconds, prices).usd
    assert usd is not None
    exact = Fraction(per_hour) * seconds * count / 3600
    assert 0 <= Fraction(usd) - exact < Fraction(1, 10**6)
    assert usd == usd.quantize(Decimal("0.000001"))


@given(st.sampled_from((TRAINING, PROCESSING)), st.integers(1, 100_000), COUNTS, st.data())
def test_a_job_that_ends_in_time_never_costs_more_than_its_ceiling(
    kind: JobKind, most: int, count: int, data: st.DataObject
) -> None:
    taken = data.draw(st.integers(0, most))
    request = request_of(kind, count=count, seconds=most)
    cost = estimate(kind, ended(kind, taken) | request, shipped()).usd
    limit = ceiling(kind, request, shipped()).usd
    assert cost is not None
    assert limit is not None
    assert cost <= limit


@given(SECONDS, SECONDS, COUNTS)
def test_parts_never_cost_less_than_the_whole(first: int, second: int, count: int) -> None:
    def cost(seconds: int) -> Decimal:
        usd = priced("processing", "ml.c5.xlarge", count, seconds, shipped()).usd
        assert usd is not None
        return usd

    assert cost(first) + cost(second) >= cost(first + second)


def test_real_jobs_of_the_runtime_are_estimated_from_their_descriptions(jobs: Jobs) -> None:
    name = jobs.processing("sleep 1.2")
    running = jobs.sagemaker.describe_processing_job(ProcessingJobName=name)
    assert estimate(PROCESSING, running, shipped()).usd == 0
    found = estimate(PROCESSING, jobs.end("processing", name), shipped())
    assert 2 <= found.seconds <= 60
    assert found.usd == priced("processing", "ml.m5.large", 1, found.seconds, shipped()).usd
    trained = jobs.end("training", jobs.training("import time; time.sleep(1.2)", instances=2))
    found = estimate(TRAINING, trained, shipped())
    assert found.seconds == trained["BillableTimeInSeconds"] >= 1
    assert found.instances == 2
    assert found.usd

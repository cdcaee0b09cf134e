"""The settings of a deployment: all that is missing is named at once, and what cannot be right is refused with its fix."""

from __future__ import annotations

import itertools

import pytest

from millrace.sagemaker.deployment import VARIABLES, Deployment, DeploymentError

COMPLETE = {
    "MILLRACE_DEPLOYMENT": "prod",
    "MILLRACE_ROLE_ARN": "arn:aws:iam::123456789012:role/jobs",
    "MILLRACE_BUCKET": "artifacts",
    "MILLRACE_JOBS_IMAGE": "local/jobs",
}


def test_a_complete_environment_becomes_a_deployment() -> None:
    found = Deployment.from_environment({**COMPLETE, "HOME": "/root"})
    assert found == Deployment(
        id="prod", role_arn="arn:aws:iam::123456789012:role/jobs", bucket="artifacts", jobs_image="local/jobs"
    )


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    assert Deployment.from_environment() == Deployment.from_environment(COMPLETE)


@pytest.mark.parametrize(
    "gone", [gone for size in range(1, 5) for gone in itertools.combinations(VARIABLES.values(), size)], ids=str
)
@pytest.mark.parametrize("how", ["unset", "empty"])
def test_every_missing_variable_is_named_in_one_error(gone: tuple[str, ...], how: str) -> None:
    environment = {k: v for k, v in COMPLETE.items() if k not in gone} | (
        dict.fromkeys(gone, "") if how == "empty" else {}
    )
    with pytest.raises(DeploymentError, match="millrace env") as caught:
        Deployment.from_environment(environment)
    assert {name for name in COMPLETE if name in str(caught.value)} == set(gone)


@pytest.mark.parametrize("bad", ["1prod", "pro-d", "prod_1", "p" * 17, "prod\n", "prød", " prod"])
def test_an_id_that_would_not_fit_into_names_is_refused_with_its_value(bad: str) -> None:
    with pytest.raises(DeploymentError, match="MILLRACE_DEPLOYMENT") as caught:
        Deployment.from_environment(COMPLETE | {"MILLRACE_DEPLOYMENT": bad})
    assert repr(bad) in str(caught.value)
    assert "16 letters and digits" in str(caught.value)


@pytest.mark.parametrize("good", ["a", "Prod2", "p" * 16])
def test_an_id_of_letters_and_digits_is_taken(good: str) -> None:
    assert Deployment.from_environment(COMPLETE | {"MILLRACE_DEPLOYMENT": good}).id == good


@pytest.mark.parametrize(
    "bad",
    ["jobs", "arn:aws:iam::1234:role/jobs", "arn:aws:iam::123456789012:user/me", "arn:aws:s3:::bucket", "{{ role }}"],
)
def test_a_role_that_is_not_a_roles_arn_is_refused_with_an_example(bad: str) -> None:
    with pytest.raises(DeploymentError, match="MILLRACE_ROLE_ARN") as caught:
        Deployment.from_environment(COMPLETE | {"MILLRACE_ROLE_ARN": bad})
    assert repr(bad) in str(caught.value)
    assert "arn:aws:iam::123456789012:role/name" in str(caught.value)


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_roles_of_every_partition_and_path_are_taken(partition: str) -> None:
    arn = f"arn:{partition}:iam::123456789012:role/service-role/millrace@jobs"
    assert Deployment.from_environment(COMPLETE | {"MILLRACE_ROLE_ARN": arn}).role_arn == arn

"""Whose jobs these are and where they run: the configuration that differs between a laptop, CI and an AWS account.

Read from the environment of the Airflow worker. The deployment id is required: scheduled run ids are alike in two
deployments, and one must never adopt or stop the other's jobs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

ID = re.compile(r"[a-zA-Z][a-zA-Z0-9]{0,15}")
ROLE = re.compile(r"arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")
VARIABLES = {
    "id": "MILLRACE_DEPLOYMENT",
    "role_arn": "MILLRACE_ROLE_ARN",
    "bucket": "MILLRACE_BUCKET",
    "jobs_image": "MILLRACE_JOBS_IMAGE",
}


class DeploymentError(ValueError):
    """A setting is missing or cannot be right; the message names the variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The settings of one deployment.

    Raises:
        DeploymentError: the id is not 1 to 16 letters and digits, or the role is not a role's ARN.
    """

    id: str
    role_arn: str
    bucket: str
    jobs_image: str

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id):
            raise DeploymentError(
                f"MILLRACE_DEPLOYMENT is {self.id!r}; it must be 1 to 16 letters and digits, beginning with a letter: it "
                "becomes part of every job's name"
            )
        if not ROLE.fullmatch(self.role_arn):
            raise DeploymentError(
                f"MILLRACE_ROLE_ARN is {self.role_arn!r}; it must be the ARN of the role that jobs take on, like "
                "arn:aws:iam::123456789012:role/name"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Deployment:
        """The deployment that the environment describes.

        Raises:
            DeploymentError: a variable is missing; all missing ones are named.
        """
        environment = os.environ if environment is None else environment
        missing = [variable for variable in VARIABLES.values() if not environment.get(variable)]
        if missing:
            raise DeploymentError(
                f"{', '.join(missing)} must be set where Airflow's tasks run: `millrace env` prints them for this machine, "
                "docs/aws.md says what they are on AWS"
            )
        return cls(**{field: environment[variable] for field, variable in VARIABLES.items()})

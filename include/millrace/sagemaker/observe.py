"""Looking at a job or an endpoint over the wire: describe it, or learn that it is not there; stop a job, once or twice.

The one place that tells "there is none of that name" from every other refusal. A lookup that fails for another reason
raises: a failed lookup must never lead to a second job.
"""

from __future__ import annotations

from typing import Any

from .kinds import JobKind, Kind, Outcome


def describe(sagemaker: Any, kind: Kind, name: str) -> dict[str, Any] | None:
    """The Describe answer, or None when there is none of that name. `sagemaker` is a boto3 client.

    Raises:
        botocore.exceptions.ClientError: anything else than "not there".
    """
    from botocore.exceptions import ClientError

    try:
        return dict(getattr(sagemaker, kind.describe)(**{kind.name_field: name}))
    except ClientError as error:
        details = error.response["Error"]
        text = details.get("Message", "").lower()
        if details["Code"] in kind.missing_codes and ("not found" in text or "could not find" in text):
            return None
        raise


def tags(sagemaker: Any, arn: str) -> dict[str, str]:
    """The tags of a resource."""
    found: dict[str, str] = {}
    for page in sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn):
        found |= {tag["Key"]: tag["Value"] for tag in page["Tags"]}
    return found


def stop(sagemaker: Any, kind: JobKind, job_name: str) -> bool:
    """Ask for a job to be stopped; False when it has ended, or is not there. Asking twice is no error."""
    from botocore.exceptions import ClientError

    found = describe(sagemaker, kind, job_name)
    if found is None or kind.outcome(found) is not Outcome.ACTIVE:
        return False
    if found.get(kind.status_field) == kind.stopping:
        return True
    try:
        getattr(sagemaker, kind.stop)(**{kind.name_field: job_name})
    except ClientError:
        # It may have ended between the look and the request.
        found = describe(sagemaker, kind, job_name)
        if found is not None and kind.outcome(found) is Outcome.ACTIVE:
            raise
        return False
    return True

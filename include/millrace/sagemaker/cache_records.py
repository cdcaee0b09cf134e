"""The step cache's JSON documents in S3, read as what they are: text that anyone with rights on the bucket may have written.

Reads are bounded, and shapes are checked before a value is used. What it does not do: it knows no document by its meaning.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .names import TaskIdentity

MAX_BYTES = 8 * 1024 * 1024
MAX_NAME, MAX_VALUE = 2_048, 1_024
"""Characters of a component's name (an S3 key may be 1,024 bytes) and of its value."""


class RecordError(ValueError):
    """A document is not what it should be; the message says which and how."""


@dataclass(frozen=True, slots=True)
class Record:
    """A document, and the ETag by which it can be replaced and nothing newer."""

    document: dict[str, Any] | None
    etag: str
    fault: str = ""
    """Why there is no document although there is an object."""


def read(s3: Any, bucket: str, key: str) -> Record | None:
    """The document at a key, or None when there is no object.

    Raises:
        botocore.exceptions.ClientError: S3 refused for another reason.
    """
    from botocore.exceptions import ClientError

    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    body, etag = answer["Body"], answer["ETag"]
    data = body.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        body.close()
        return Record(None, etag, f"s3://{bucket}/{key} is larger than {MAX_BYTES} bytes; it was not read")
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return Record(None, etag, f"s3://{bucket}/{key} is not JSON: {str(error)[:200]}")
    if not isinstance(document, dict):
        return Record(None, etag, f"s3://{bucket}/{key} is not a JSON object")
    return Record(document, etag)


def text(document: dict[str, Any], name: str, limit: int = MAX_VALUE) -> str:
    """A member that must be a printable string of sane length.

    Raises:
        RecordError: it is not.
    """
    value = document.get(name)
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        raise RecordError(f"{name} must be a printable string of at most {limit} characters")
    return value


def components(document: dict[str, Any]) -> dict[str, str]:
    """The member `components`.

    Raises:
        RecordError: it does not map short strings to short strings.
    """
    found = document.get("components")
    if not isinstance(found, dict):
        raise RecordError("components must be a mapping")
    for name, value in found.items():
        if not isinstance(value, str) or len(name) > MAX_NAME or len(value) > MAX_VALUE:
            raise RecordError(
                f"components must map names of at most {MAX_NAME} characters to values of at most {MAX_VALUE}"
            )
    return found


def identity(document: dict[str, Any], name: str) -> TaskIdentity:
    """A member that says which task instance wrote the document.

    Raises:
        RecordError: it does not.
    """
    found = document.get(name)
    if not isinstance(found, dict):
        raise RecordError(f"{name} must be a mapping")
    map_index = found.get("map_index")
    if isinstance(map_index, bool) or not isinstance(map_index, int):
        raise RecordError(f"{name}.map_index must be a whole number")
    return TaskIdentity(
        deployment=text(found, "deployment"),
        dag_id=text(found, "dag_id"),
        run_id=text(found, "run_id"),
        task_id=text(found, "task_id"),
        map_index=map_index,
    )


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")

"""A model's history in S3: one small object a record, written once and never changed, and a page that shows them all.

Under `<deployment>/history/<model>/`. A record's key begins with its time, so that a listing is in order, and ends with the
job that found it, so that a retry finds its own record and a cleared task, whose job is another, adds one.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from millrace.retraining.page import page
from millrace.retraining.record import MAX_BYTES, Record, RecordError, parse

PAGE = "index.html"
RECORDS = "records/"
MAX_RECORDS = 500
"""The newest that are read."""
READERS = 8
TIME_CHARACTERS = len("20261121T000000Z")


@dataclass(frozen=True, slots=True)
class History:
    """Of one model of one deployment."""

    s3: Any
    bucket: str
    deployment: str
    model: str

    @property
    def folder(self) -> str:
        return f"{self.deployment}/history/{self.model}/"

    @property
    def page_uri(self) -> str:
        return f"s3://{self.bucket}/{self.folder}{PAGE}"

    def found(self, kind: str, job: str) -> Record | None:
        """The record that a job's finding has, once it was written."""
        key = next((key for key in self._keys() if key.endswith(_ending(kind, job))), None)
        return None if key is None else self._read(key)

    def records(self) -> Sequence[Record]:
        """All records, the oldest first; those of one time as they were written.

        Raises:
            RecordError: an object is no record; the message names it.
        """
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self._read, self._keys()[-MAX_RECORDS:]))

    def add(self, record: Record, job: str) -> None:
        """Write a record, unless this job's is there, and the page anew."""
        key = f"{self.folder}{RECORDS}{record.at.astimezone(UTC):%Y%m%dT%H%M%SZ}{_ending(record.kind, job)}"
        try:
            self.s3.put_object(
                Bucket=self.bucket, Key=key, Body=record.to_json(), ContentType="application/json", IfNoneMatch="*"
            )
        except self.s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
        body = page(self.model, self.records())
        self.s3.put_object(Bucket=self.bucket, Key=f"{self.folder}{PAGE}", Body=body.encode(), ContentType="text/html")

    def _keys(self) -> list[str]:
        """Of all records, by the time that they are about; those of one time as they were written."""
        prefix = self.folder + RECORDS
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        found = [one for listed in pages for one in listed.get("Contents", [])]
        found.sort(key=lambda one: (one["Key"][: len(prefix) + TIME_CHARACTERS], one["LastModified"]))
        return [one["Key"] for one in found]

    def _read(self, key: str) -> Record:
        with self.s3.get_object(Bucket=self.bucket, Key=key)["Body"] as body:
            raw = body.read(MAX_BYTES + 1)
        try:
            return parse(raw)
        except RecordError as error:
            raise RecordError(
                f"s3://{self.bucket}/{key} cannot be read: {error}; move it away if it is not a record of yours"
            ) from error


def _ending(kind: str, job: str) -> str:
    return f"-{kind}-{job}.json"

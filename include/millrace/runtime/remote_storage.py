"""Another S3 in the place of the runtime's own: AWS's, or any server that speaks its protocol.

Inputs are downloaded, since there is no file to link; outputs are uploaded in parts, several at a time. Jobs get its
address and the keys of the profile that the runtime uses, so that their own SDK finds the same objects.

What it does not do: it neither makes buckets nor passes on the calls of clients, whose configuration names that S3
themselves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.exceptions import RetriesExceededError

from .s3.errors import AccessDenied, KeyTooLong, NoSuchBucket, NoSuchKey, S3Error
from .storage import StorageAway

PLACES_AT_ONCE, PARTS_AT_ONCE = 8, 4
TRANSFER = TransferConfig(max_concurrency=PARTS_AT_ONCE)
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 5, 20, 3
"""Patience is the caller's: what is away is asked again later."""
REFUSALS: Mapping[str, type[S3Error]] = {
    "403": AccessDenied,
    "404": NoSuchKey,  # of Head, which has no body to say more
    "AccessDenied": AccessDenied,
    "KeyTooLongError": KeyTooLong,
    "NoSuchBucket": NoSuchBucket,
    "NoSuchKey": NoSuchKey,
}


class NoKeys(ValueError):
    """There are no keys for the other S3; the message says why."""


def session_with_keys(profile: str | None) -> tuple[boto3.Session, Credentials]:
    """
    Raises:
        NoKeys: there is no such profile, or it has none.
    """
    try:
        session = boto3.Session(profile_name=profile)
        credentials = session.get_credentials()
    except BotoCoreError as error:
        raise NoKeys(f"the keys for the other S3 cannot be read: {error}") from error
    if credentials is None:
        raise NoKeys(
            "there are no keys for the other S3: name a profile that has some with --s3-profile, or set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY"
        )
    return session, credentials


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """An object of the other S3."""

    bucket: str
    key: str
    size: int
    storage: RemoteStorage = field(repr=False)

    def place(self, target: Path, *, link: bool) -> None:
        with target.open("xb") as stream:
            try:
                self.storage.download(self.bucket, self.key, stream)
            except NoSuchKey as error:
                raise FileNotFoundError(error.message) from error


class RemoteStorage:
    """A `Storage` behind an endpoint.

    Args:
        profile: of the AWS configuration of whoever starts the runtime; None is the SDK's own choice.
        scratch: a folder for copies that are being uploaded.

    Raises:
        NoKeys: there is no such profile, or it has none.
    """

    places_at_once = PLACES_AT_ONCE

    def __init__(self, endpoint_url: str, profile: str | None, region: str, scratch: Path) -> None:
        self._url = endpoint_url
        self._scratch = scratch
        session, self._credentials = session_with_keys(profile)
        self._client: Any = session.client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=session.region_name or region,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=PLACES_AT_ONCE * PARTS_AT_ONCE,
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
            ),
        )
        self._variables: Mapping[str, str] = {}
        with contextlib.suppress(StorageAway):  # the first job's staging asks again
            self.refresh()

    def list_keys(self, bucket: str, prefix: str = "") -> Iterator[RemoteObject]:
        with self._told(f"listing s3://{bucket}/{prefix}"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for row in page.get("Contents", ()):
                    yield RemoteObject(bucket, row["Key"], row["Size"], self)

    def head(self, bucket: str, key: str) -> RemoteObject:
        with self._told(f"s3://{bucket}/{key}"):
            found = self._client.head_object(Bucket=bucket, Key=key)
        return RemoteObject(bucket, key, found["ContentLength"], self)

    def open(self, bucket: str, key: str) -> BinaryIO:
        stream: BinaryIO = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 - the caller closes it
        try:
            self.download(bucket, key, stream)
        except BaseException:
            stream.close()
            raise
        stream.seek(0)
        return stream

    def download(self, bucket: str, key: str, stream: BinaryIO) -> None:
        with self._told(f"s3://{bucket}/{key}"):
            self._client.download_fileobj(bucket, key, stream, Config=TRANSFER)

    def put_file(self, bucket: str, key: str, path: Path, *, content_type: str) -> None:
        with path.open("rb") as stream, self._told(f"s3://{bucket}/{key}"):
            self._client.upload_fileobj(stream, bucket, key, ExtraArgs={"ContentType": content_type}, Config=TRANSFER)

    def put_copy(
        self, bucket: str, key: str, descriptor: int, *, content_type: str, is_whole: Callable[[], bool]
    ) -> bool:
        with tempfile.NamedTemporaryFile(dir=self._scratch) as copy:
            with os.fdopen(os.dup(descriptor), "rb") as source:
                source.seek(0)
                shutil.copyfileobj(source, copy)
            copy.flush()
            if not is_whole():
                return False
            self.put_file(bucket, key, Path(copy.name), content_type=content_type)
        return True

    def variables(self) -> Mapping[str, str]:
        return self._variables

    def refresh(self) -> None:
        with self._told("the keys"):
            keys = self._credentials.get_frozen_credentials()
        token = {"AWS_SESSION_TOKEN": keys.token} if keys.token else {}
        self._variables = {
            "AWS_ENDPOINT_URL_S3": self._url,
            "AWS_ACCESS_KEY_ID": str(keys.access_key),
            "AWS_SECRET_ACCESS_KEY": str(keys.secret_key),
            **token,
        }

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn what the SDK raises into what the runtime's own store would have raised."""
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) >= 500:
                raise StorageAway(f"{what} at {self._url}: {error}") from error
            raise REFUSALS.get(code, S3Error)(f"{what} at {self._url}: {error}") from error
        except (BotoCoreError, RetriesExceededError) as error:
            raise StorageAway(f"{what} at {self._url}: {error}") from error

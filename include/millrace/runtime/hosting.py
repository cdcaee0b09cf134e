"""A stored model, made ready to serve: its archive unpacked to /opt/ml/model and the command of its server.

Endpoints and batch transform both host a model through this file. What it does not do: it starts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import launchers, staging
from .errors import JobFailed
from .s3.errors import S3Error
from .sandbox import Box
from .storage import Storage, StorageAway


def stage_model(container: dict[str, Any], ml: Path, objects: Storage) -> None:
    """Unpack the container's model archive to `ml/model`.

    Raises:
        JobFailed: the archive is missing or cannot be unpacked.
    """
    (ml / "model").mkdir(parents=True, exist_ok=True)
    (ml / "output").mkdir(exist_ok=True)
    uri = container.get("ModelDataUrl")
    if not uri:
        return
    bucket, key = staging.parse_uri(uri)
    try:
        stream = objects.open(bucket, key)
    except S3Error as error:
        raise JobFailed(f"ClientError: the model data {uri} cannot be read: {error.message}") from error
    except StorageAway as error:
        raise JobFailed(f"InternalServerError: the model data {uri} cannot be read now: {error}") from error
    with stream:
        staging.unpack_archive(stream, ml / "model", f"the model data {uri}")


@dataclass(frozen=True, slots=True)
class Server:
    """The model server of a container: its argument list, its own variables, its box, and what stands for its image."""

    argv: list[str]
    env: dict[str, str]
    box: Box
    launcher: launchers.Launcher


def server(data_dir: Path, container: dict[str, Any], box: Box, host: str, port: int) -> Server:
    """The server that listens on `host` and `port`.

    Raises:
        JobFailed: nothing on this machine stands for the image.
    """
    argv, launcher, box = launchers.launch(data_dir, container["Image"], "serve", box)
    env = {
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "MILLRACE_BIND_HOST": host,
        **(container.get("Environment") or {}),
    }
    return Server(argv, env, box, launcher)

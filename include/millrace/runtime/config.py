"""What the runtime is told when it starts, checked at the edge."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from .gpus import Gpu

ACCOUNT = "123456789012"
"""The one account of the runtime; moto's default too, so that ARNs of both agree."""

Isolation = Literal["auto", "bubblewrap", "process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """Where the runtime listens, where it keeps its state, and how much of the machine it leases out.

    Raises:
        ValueError: the port is outside 0..65535, there is no instance to lease, others could reach the port and
            there are no credentials, or another S3 cannot be used together with the rest.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 4580
    allowed_hosts: tuple[str, ...] = field(default=())
    """Names beside the loopback ones that a request's Host header may carry, for example a compose service's."""
    isolation: Isolation = "auto"
    """`auto` takes bubblewrap where it works and plain processes where it does not."""
    max_instances: int = 16
    """Instances of jobs that run at one time; further jobs wait, and a job larger than this is refused."""
    gpus: tuple[Gpu, ...] = ()
    """The GPUs that jobs may have."""
    s3_endpoint_url: str | None = None
    """Another S3 that holds the data of jobs; None is the runtime's own."""
    s3_profile: str | None = None
    """The AWS profile whose keys the runtime and its jobs use there; None is the SDK's own choice."""
    credentials: Path | None = None
    """The file of the keys that are let in (`credentials.py`). Without one, any key is."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is outside 0..65535; choose another with --port")
        if self.max_instances < 1:
            raise ValueError(f"--max-instances is {self.max_instances}; at least 1 is needed to run a job")
        if self.credentials is None and not is_loopback(self.host):
            raise ValueError(
                f"--host {self.host} lets other machines in, and whoever reaches the port runs code here; give "
                "--credentials FILE, so that requests must be signed with one of its keys, or listen on 127.0.0.1"
            )

        if self.s3_endpoint_url is None:
            if self.s3_profile is not None:
                raise ValueError(f"--s3-profile {self.s3_profile} is for another S3; name that with --s3-endpoint-url")
            return
        parts = urlsplit(self.s3_endpoint_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"--s3-endpoint-url {self.s3_endpoint_url!r} is no URL of a server; it must look like http://127.0.0.1:9000"
            )
        if self.credentials is not None:
            raise ValueError(
                "--s3-endpoint-url does not go together with --credentials: a job has one key, which would have to be good "
                "both for the runtime and for the other S3"
            )

    @property
    def endpoint_url(self) -> str:
        """What clients and jobs on this machine set as AWS_ENDPOINT_URL."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def to_json(self) -> str:
        """For the command lines of the runtime's own processes: paths and settings, never a secret."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> RuntimeConfig:
        fields = json.loads(text)
        credentials = fields.pop("credentials")
        return cls(
            **{
                **fields,
                "data_dir": Path(fields["data_dir"]),
                "allowed_hosts": tuple(fields["allowed_hosts"]),
                "gpus": tuple(Gpu(**gpu) for gpu in fields["gpus"]),
            },
            credentials=Path(credentials) if credentials else None,
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a socket that is bound to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

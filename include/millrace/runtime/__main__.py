"""`python -m millrace.runtime`: SageMaker on this machine, on one port."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from . import credentials, gpus, sandbox
from .config import RuntimeConfig
from .front import AlreadyRunning, Front, PortInUse


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m millrace.runtime", description=__doc__)
    parser.add_argument("--port", type=int, default=4580)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; anything but loopback needs --credentials"
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the runtime's state")
    parser.add_argument("--allowed-host", action="append", default=[], help="further Host header to accept")
    parser.add_argument("--isolation", choices=("auto", "bubblewrap", "process"), default="auto")
    parser.add_argument("--max-instances", type=int, default=16, help="instances of jobs at one time")
    parser.add_argument(
        "--gpus", default="auto", help="GPUs that jobs may have: auto (all), none, or numbers such as 0,2"
    )
    parser.add_argument(
        "--s3-endpoint-url", help="another S3 that holds the data of jobs; without it, the runtime's own"
    )
    parser.add_argument("--s3-profile", help="AWS profile whose keys the runtime and its jobs use at that S3")
    parser.add_argument("--credentials", type=Path, help="file of the keys that are let in; without it, any key is")
    options = parser.parse_args()
    try:
        config = RuntimeConfig(
            data_dir=options.data_dir.resolve(),
            host=options.host,
            port=options.port,
            allowed_hosts=tuple(options.allowed_host),
            isolation=options.isolation,
            max_instances=options.max_instances,
            gpus=gpus.chosen(options.gpus, gpus.found()),
            s3_endpoint_url=options.s3_endpoint_url,
            s3_profile=options.s3_profile,
            credentials=options.credentials.absolute() if options.credentials else None,
        )
        if config.credentials is not None:
            check_credentials(config.credentials, config)
        if config.s3_endpoint_url is not None:
            from .remote_storage import session_with_keys  # the import of boto3 takes a while, and few need it

            session_with_keys(config.s3_profile)
        front = Front(config)
    except (ValueError, PortInUse, AlreadyRunning) as error:
        print(f"millrace runtime: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return asyncio.run(front.run())


def check_credentials(path: Path, config: RuntimeConfig) -> None:
    """
    Raises:
        ValueError: the file cannot be used, or lies where the code of jobs could read it.
    """
    credentials.load(path)
    if not sandbox.resolve(config.isolation):
        print(  # noqa: T201
            f"millrace runtime: without bubblewrap jobs run as this user and can read {path}: run only jobs that may have "
            "every key in it",
            file=sys.stderr,
        )
    elif not sandbox.hides(path, config.data_dir):
        raise ValueError(
            f"the credentials file {path} lies where jobs can read it, inside their sandbox too; keep it in the data "
            f"folder {config.data_dir}, in a home folder or below /run"
        )


if __name__ == "__main__":
    sys.exit(main())

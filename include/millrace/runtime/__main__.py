"""`python -m millrace.runtime`: SageMaker on this machine, on one port."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from .config import RuntimeConfig
from .front import AlreadyRunning, Front, PortInUse


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m millrace.runtime", description=__doc__)
    parser.add_argument("--port", type=int, default=4580)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; anything but loopback runs code for others"
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the runtime's state")
    parser.add_argument("--allowed-host", action="append", default=[], help="further Host header to accept")
    parser.add_argument("--isolation", choices=("auto", "bubblewrap", "process"), default="auto")
    parser.add_argument("--max-instances", type=int, default=16, help="instances of jobs at one time")
    options = parser.parse_args()
    try:
        config = RuntimeConfig(
            data_dir=options.data_dir.resolve(),
            host=options.host,
            port=options.port,
            allowed_hosts=tuple(options.allowed_host),
            isolation=options.isolation,
            max_instances=options.max_instances,
        )
        front = Front(config)
    except (ValueError, PortInUse, AlreadyRunning) as error:
        print(f"millrace runtime: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return asyncio.run(front.run())


if __name__ == "__main__":
    sys.exit(main())

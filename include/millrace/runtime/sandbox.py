"""The box a job runs in: bubblewrap where user namespaces work, a plain process tree where they do not.

Under bubblewrap the root is read-only, /tmp and /dev are private, capabilities are dropped, processes have a namespace
of their own, and the folders that could hold a secret or another job's data (home, this checkout, the runtime's
state) are empty; only the Python environment shows through. The job sees its own tree at /opt/ml.

Without it the same tree lies under SAGEMAKER_BASE_DIR, hosts are plain loopback addresses, and a request for network
isolation is refused, not ignored.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .config import Isolation
from .errors import JobFailed

PACKAGE = Path(__file__).resolve().parents[1]
BUILT_IN = "/opt/millrace"
"""Where the programs that belong to the image (and not to the job) lie inside a sandbox."""


@functools.cache
def bubblewrap_works() -> bool:
    """Whether bubblewrap is installed and this kernel and user may use it."""
    if shutil.which("bwrap") is None:
        return False
    trial = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid", "--unshare-uts",
             "--cap-drop", "ALL", "--hostname", "algo-1", "true"]  # fmt: skip
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def resolve(isolation: Isolation) -> bool:
    """Whether jobs run under bubblewrap.

    Raises:
        ValueError: bubblewrap was asked for by name and does not work here.
    """
    if isolation == "bubblewrap" and not bubblewrap_works():
        raise ValueError(
            "--isolation bubblewrap was asked for, but `bwrap` is not installed or may not make namespaces here; "
            "install bubblewrap, or start with --isolation process"
        )
    return isolation != "process" and bubblewrap_works()


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One instance's box. `ml` is its /opt/ml on the host."""

    ml: Path
    hostname: str
    hosts: Mapping[str, str]
    """Host name to loopback address, for every instance of the job."""
    sandboxed: bool
    isolate_network: bool = False
    read_only: Mapping[str, Path] = field(default_factory=dict)
    """Path below /opt/ml to a host folder that the job may read and not write."""
    hidden: Sequence[Path] = ()
    """Host folders that hold the runtime's state."""

    @property
    def base(self) -> str:
        """Where the job finds its tree."""
        return "/opt/ml" if self.sandboxed else str(self.ml)

    @property
    def built_in(self) -> str:
        return BUILT_IN if self.sandboxed else str(PACKAGE)

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command line that starts `argv` inside the box.

        Raises:
            JobFailed: network isolation was asked for and cannot be given.
        """
        if not self.sandboxed:
            if self.isolate_network:
                raise JobFailed(
                    "EnableNetworkIsolation needs bubblewrap and user namespaces, which this machine does not offer; "
                    "install bubblewrap or leave the isolation out"
                )
            return list(argv)
        if self.isolate_network and len(self.hosts) > 1:
            raise JobFailed(
                f"EnableNetworkIsolation with {len(self.hosts)} instances is not offered by this runtime yet: its "
                "instances could not reach each other; use one instance or leave the isolation out"
            )
        hosts_file = self.ml.parent / "hosts"
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self.hosts.items())]
        hosts_file.write_text("\n".join(lines) + "\n")
        command = [shutil.which("bwrap") or "bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
                   "--hostname", self.hostname, "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev",
                   "--proc", "/proc"]  # fmt: skip
        if self.isolate_network:
            command += ["--unshare-net"]
        for folder in self._emptied():
            command += ["--tmpfs", str(folder)]
        for folder in python_folders():
            command += ["--ro-bind", str(folder), str(folder)]
        for part in ("training", "serving", "runtime/inside"):
            command += ["--ro-bind", str(PACKAGE / part), f"{BUILT_IN}/{part}"]
        command += ["--ro-bind", str(hosts_file), "/etc/hosts", "--bind", str(self.ml), "/opt/ml"]
        for inside, outside in self.read_only.items():
            command += ["--ro-bind", str(outside), f"/opt/ml/{inside}"]
        return [*command, "--chdir", "/opt/ml", "--", *argv]

    def _emptied(self) -> list[Path]:
        """Folders replaced by an empty one, parents before children."""
        folders = {Path("/tmp"), Path("/var/tmp"), Path("/run"), Path("/opt"), Path("/dev/shm")}  # noqa: S108
        folders |= {Path("/root"), Path("/home"), Path.home(), *self.hidden}
        if (PACKAGE.parents[1] / "pyproject.toml").exists():  # a checkout: job code must travel, not be found here
            folders.add(PACKAGE.parents[1])
        real = sorted({folder.resolve() for folder in folders if folder.is_dir() and folder != Path("/")})
        return [f for f in real if not any(f != other and f.is_relative_to(other) for other in real)]

    def link_read_only(self) -> None:
        """Without bubblewrap there are no binds: the folders are put in place as they are."""
        for inside, outside in self.read_only.items():
            target = self.ml / inside
            if target.is_dir() and not target.is_symlink():
                target.rmdir()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(outside)


def python_folders() -> list[Path]:
    """What the interpreter of this environment needs: the environment, its base, and where the base's libraries lie."""
    found = {Path(sys.prefix), Path(sys.base_prefix), Path(sysconfig.get_path("stdlib"))}
    folders = sorted(folder for folder in found if folder.is_dir() and folder not in (Path("/"), Path("/usr")))
    return [f for f in folders if not any(f != other and f.is_relative_to(other) for other in folders)]


def environment(endpoint_url: str, region: str, box: Box) -> dict[str, str]:
    """The variables every job starts with. Nothing is inherited from the shell that started the runtime."""
    env = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": "/tmp" if box.sandboxed else str(box.ml.parent),  # noqa: S108 - private inside the sandbox
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "millrace-job",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "MPLBACKEND": "Agg",
    }
    if not box.sandboxed:
        env["SAGEMAKER_BASE_DIR"] = str(box.ml)
    return env

"""The box a job runs in: bubblewrap where user namespaces work, a plain process tree where they do not.

Under bubblewrap the root is read-only, /tmp and /dev are private, capabilities are dropped, processes have a namespace
of their own, and the folders that could hold a secret or another job's data (home, this checkout, the runtime's
state) are empty; only the Python environment shows through. The job sees its own tree at /opt/ml. Under network
isolation a single instance has a network of its own, with nothing in it; several share one, which the shim sees to.

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

from . import gpus
from .config import Isolation
from .credentials import ANY_JOB, Credential
from .errors import JobFailed
from .gpus import Gpu

PACKAGE = Path(__file__).resolve().parents[1]
PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108
"""Each sandbox has its own."""
BUILT_IN = "/opt/millrace"
"""Where the programs that belong to the image (and not to the job) lie inside a sandbox."""
PROGRAMS = (
    "training", "serving", "runtime/inside", "monitoring", "profiling", "__init__.py", "job_exit.py", "verdict.py",
)  # fmt: skip
"""What of this package they are, and what they import of it."""


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
    shared_memory_bytes: int | None = None
    """The most that /dev/shm holds; None is the kernel's default, half of the machine's memory."""
    gpus: Sequence[Gpu] = ()
    """Its own; it sees no other."""
    environment: Path | None = None
    """The virtual environment that the job runs in; None is the runtime's own."""

    @property
    def base(self) -> str:
        """Where the job finds its tree."""
        return "/opt/ml" if self.sandboxed else str(self.ml)

    @property
    def built_in(self) -> str:
        return BUILT_IN if self.sandboxed else str(PACKAGE)

    @property
    def shares_network(self) -> bool:
        """Whether the shim starts it in the network of its peers, instead of the one of its own that `wrap` asks for."""
        return self.sandboxed and self.isolate_network and len(self.hosts) > 1

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
        hosts_file = self.ml.parent / "hosts"
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in self.hosts.items())]
        hosts_file.write_text("\n".join(lines) + "\n")
        command = [shutil.which("bwrap") or "bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
                   "--hostname", self.hostname, "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev",
                   "--proc", "/proc"]  # fmt: skip
        if self.isolate_network:
            command += ["--unshare-net"]
        # The job's own, and on disk, since a tmpfs would be memory. First, for what lies below it is mounted on it.
        for place in PRIVATE:
            command += ["--bind", str(self._private_tmp()), place]
        for folder in emptied(self.hidden):
            command += ["--tmpfs", str(folder)]
        for folder in python_folders(self.environment):
            command += ["--ro-bind", str(folder), str(folder)]
        for part in PROGRAMS:
            command += ["--ro-bind", str(PACKAGE / part), f"{BUILT_IN}/{part}"]
        command += ["--ro-bind", str(hosts_file), "/etc/hosts", "--bind", str(self.ml), "/opt/ml"]
        for inside, outside in self.read_only.items():
            command += ["--ro-bind", str(outside), f"/opt/ml/{inside}"]
        for node in gpus.nodes(self.gpus):
            command += ["--dev-bind", str(node), str(node)]
        for folder in (*emptied(self.hidden), Path("/dev")):
            command += ["--remount-ro", str(folder)]  # a tmpfs is memory, and this one would be nobody's
        size = [] if self.shared_memory_bytes is None else ["--size", str(self.shared_memory_bytes)]
        command += [*size, "--tmpfs", "/dev/shm"]  # noqa: S108
        return [*command, "--chdir", "/opt/ml", "--", *argv]

    def _private_tmp(self) -> Path:
        folder = self.ml.parent / "tmp"
        folder.mkdir(exist_ok=True)
        return folder

    def link_read_only(self) -> None:
        """Without bubblewrap there are no binds: the folders are put in place as they are."""
        for inside, outside in self.read_only.items():
            target = self.ml / inside
            if target.is_dir() and not target.is_symlink():
                target.rmdir()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(outside)


def emptied(hidden: Sequence[Path]) -> list[Path]:
    """Folders that are replaced by an empty one inside a sandbox, parents before children."""
    folders = {Path("/run"), Path("/opt")}
    folders |= {Path("/root"), Path("/home"), Path.home(), *hidden}
    if (PACKAGE.parents[1] / "pyproject.toml").exists():  # a checkout: job code must travel, not be found here
        folders.add(PACKAGE.parents[1])
    real = sorted({folder.resolve() for folder in folders if folder.is_dir() and folder != Path("/")})
    return [f for f in real if not any(f != other and f.is_relative_to(other) for other in real)]


def hides(path: Path, data_dir: Path) -> bool:
    """Whether no sandbox shows this file of the host."""
    real = path.resolve()
    hidden = (*emptied((data_dir,)), *(Path(place).resolve() for place in PRIVATE))
    shown = python_folders()
    return any(map(real.is_relative_to, hidden)) and not any(map(real.is_relative_to, shown))


def python_folders(environment: Path | None = None) -> list[Path]:
    """What the interpreter of this environment needs: the environment, its base, and where the base's libraries lie;
    and another environment with its base, if one is asked for."""
    found = {Path(sys.prefix), Path(sys.base_prefix), Path(sysconfig.get_path("stdlib"))}
    if environment is not None:
        found |= {environment, (environment / "bin/python").resolve().parents[1]}
    folders = sorted(folder for folder in found if folder.is_dir() and folder not in (Path("/"), Path("/usr")))
    return [f for f in folders if not any(f != other and f.is_relative_to(other) for other in folders)]


def environment(endpoint_url: str, region: str, box: Box, credential: Credential = ANY_JOB) -> dict[str, str]:
    """The variables every job starts with. Nothing is inherited from the shell that started the runtime.

    Args:
        credential: what the job signs its calls with.
    """
    programs = box.environment / "bin" if box.environment else Path(sys.executable).parent
    env = {
        "PATH": os.pathsep.join([str(programs), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": "/tmp" if box.sandboxed else str(box.ml.parent),  # noqa: S108 - private inside the sandbox
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": credential.access_key,
        "AWS_SECRET_ACCESS_KEY": credential.secret_key,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "MPLBACKEND": "Agg",
        gpus.VISIBLE: ",".join(gpu.uuid for gpu in box.gpus),
    }
    if not box.sandboxed:
        env["SAGEMAKER_BASE_DIR"] = str(box.ml)
    return env

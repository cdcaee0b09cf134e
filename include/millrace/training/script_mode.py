"""The `train` program of a jobs image: script mode, after the contract of the SageMaker training toolkit.

Reads /opt/ml/input/config, unpacks `sagemaker_submit_directory` to /opt/ml/code, installs a requirements.txt if the
archive has one, sets the SM_* variables, and runs `sagemaker_program` with the hyperparameters as sorted `--key value`
arguments: under torchrun when `sagemaker_torch_distributed_enabled` says so. A failure leaves the end of the program's
own output in /opt/ml/output/failure, which SageMaker shows as FailureReason.

Standard library only (boto3 for the archive when it lies in S3). Source of the contract: aws/sagemaker-training-toolkit.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
CODE = BASE / "code"
PACKAGES = BASE / "packages"
INSTALLED, HELD_URI = "MILLRACE_REQUIREMENTS", "MILLRACE_SOURCE"
"""Variables by which the platform says what it has done already: the SHA-256 of the requirements.txt whose packages are in
PACKAGES, and the URI of the archive that is at HELD."""
HELD = BASE / "input/source/source.tar.gz"
RESERVED = ("sagemaker_", "_tuning_objective_metric")
DEFAULT_MASTER_PORT = "7777"
RESOLVE_SECONDS = 15 * 60


class ScriptModeError(Exception):
    """The job is set up wrongly; the message says how to mend it."""


def read_config(name: str) -> dict[str, Any]:
    path = BASE / "input/config" / name
    document = json.loads(path.read_text()) if path.exists() else {}
    return document if isinstance(document, dict) else {}


def decoded(value: str) -> Any:
    """A hyperparameter as its JSON value; SDKs send them JSON-encoded, people do not."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def fetch_code(location: str) -> None:
    """Unpack the source archive to /opt/ml/code."""
    CODE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source.tar.gz"
        if os.environ.get(HELD_URI) == location:
            path = HELD
        elif location.startswith("s3://"):
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError

            parts = urlsplit(location)
            # A store that is restarting is back within a minute; a job should not fail for that.
            patient = Config(retries={"mode": "standard", "max_attempts": 10})
            try:
                boto3.client("s3", config=patient).download_file(parts.netloc, parts.path.lstrip("/"), str(path))
            except (BotoCoreError, ClientError) as error:
                raise ScriptModeError(f"the source archive {location} cannot be fetched: {error}") from error
        else:
            path = Path(location)
        if path.is_dir():
            raise ScriptModeError(f"sagemaker_submit_directory is the folder {location}; it must be a tar.gz")
        with tarfile.open(path, "r:gz") as archive:
            archive.extractall(CODE, filter="data")


def environment(hyperparameters: dict[str, Any], resources: dict[str, Any], program: str) -> dict[str, str]:
    """The SM_* variables: strings raw, everything else as compact sorted JSON."""
    channels = sorted(read_config("inputdataconfig.json"))
    user = {k: v for k, v in hyperparameters.items() if not k.startswith(RESERVED)}
    values: dict[str, Any] = {
        "HOSTS": resources["hosts"],
        "CURRENT_HOST": resources["current_host"],
        "NETWORK_INTERFACE_NAME": resources["network_interface_name"],
        "CURRENT_INSTANCE_TYPE": resources.get("current_instance_type", ""),
        "CURRENT_INSTANCE_GROUP": resources.get("current_group_name", ""),
        "INSTANCE_GROUPS": [group["instance_group_name"] for group in resources.get("instance_groups", [])],
        "HPS": user,
        "CHANNELS": channels,
        "RESOURCE_CONFIG": resources,
        "INPUT_DATA_CONFIG": read_config("inputdataconfig.json"),
        "USER_ARGS": user_arguments(user),
        "USER_ENTRY_POINT": program,
        "MODULE_NAME": Path(program).stem,
        "MODULE_DIR": str(hyperparameters.get("sagemaker_submit_directory", "")),
        "INPUT_DIR": str(BASE / "input"),
        "INPUT_CONFIG_DIR": str(BASE / "input/config"),
        "OUTPUT_DIR": str(BASE / "output"),
        "OUTPUT_DATA_DIR": str(BASE / "output/data"),
        "OUTPUT_INTERMEDIATE_DIR": str(BASE / "output/intermediate"),
        "MODEL_DIR": str(BASE / "model"),
        "NUM_CPUS": len(os.sched_getaffinity(0)),
        "NUM_GPUS": gpu_count(),
        "LOG_LEVEL": hyperparameters.get("sagemaker_container_log_level", 20),
        "IS_HETERO": len(resources.get("instance_groups", [])) > 1,
        "FRAMEWORK_PARAMS": {k: v for k, v in hyperparameters.items() if k.startswith("sagemaker_")},
        "JOB_NAME": os.environ.get("TRAINING_JOB_NAME", ""),
    }
    values |= {f"CHANNEL_{name.upper()}": str(BASE / "input/data" / name) for name in channels}
    values |= {f"HP_{name.upper()}": value for name, value in user.items()}
    values["TRAINING_ENV"] = {name.lower(): value for name, value in values.items()}
    encoded = {
        f"SM_{name}": value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
        for name, value in values.items()
    }
    # gloo and NCCL choose an interface by the host's name unless they are told.
    interface = resources["network_interface_name"]
    return encoded | {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": interface}


def install_requirements() -> None:
    """Install the archive's requirements.txt beside the code: the image's own packages are not the job's to change."""
    if os.environ.get(INSTALLED) == hashlib.sha256((CODE / "requirements.txt").read_bytes()).hexdigest():
        return
    command = [sys.executable, "-m", "pip", "install", "--target", str(PACKAGES), "-r", "requirements.txt"]
    done = subprocess.run(command, cwd=CODE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout, flush=True)  # noqa: T201 - the job's log
    if done.returncode:
        last = " | ".join(line for line in done.stdout.splitlines() if line.strip())[-600:]
        raise ScriptModeError(f"requirements.txt of the source archive cannot be installed: {last}")


def gpu_count() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip()])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def user_arguments(user: dict[str, Any]) -> list[str]:
    arguments: list[str] = []
    for name in sorted(user):
        value = user[name]
        arguments += [f"--{name}", value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))]
    return arguments


def resolve_hosts(hosts: list[str]) -> None:
    """Wait until every host of the job has an address, as the toolkit does."""
    import socket

    deadline = time.monotonic() + RESOLVE_SECONDS
    for host in hosts:
        while True:
            try:
                socket.gethostbyname(host)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ScriptModeError(f"host {host!r} of this job has no address: {error}") from error
                time.sleep(0.5)


def command(program: str, hyperparameters: dict[str, Any], resources: dict[str, Any], port: str) -> list[str]:
    """The command line of the user's program."""
    arguments = user_arguments({k: v for k, v in hyperparameters.items() if not k.startswith(RESERVED)})
    if hyperparameters.get("sagemaker_torch_distributed_enabled") is True:
        if not program.endswith(".py"):
            raise ScriptModeError(f"torchrun needs a Python program, and sagemaker_program is {program!r}")
        hosts = resources["hosts"]
        processes = int(hyperparameters.get("sagemaker_nproc_per_node", gpu_count()) or 1)
        launcher = ["torchrun", "--nnodes", str(len(hosts)), "--nproc_per_node", str(processes)]
        if len(hosts) > 1:
            rank = hosts.index(resources["current_host"])
            launcher += ["--master_addr", hosts[0], "--master_port", port, "--node_rank", str(rank)]
            # torchrun's agents and ranks would otherwise tell each other the machine's own name.
            launcher += ["--local_addr", resources["current_host"]]
        return [sys.executable, "-m", "torch.distributed.run", *launcher[1:], program, *arguments]
    if program.endswith(".py"):
        return [sys.executable, program, *arguments]
    return ["/bin/sh", "-c", f'exec ./{program} "$@"', program, *arguments]


def run(argv: list[str], env: dict[str, str]) -> tuple[int, str]:
    """Run the program, pass its output on, and keep the end of it."""
    process = subprocess.Popen(argv, cwd=CODE, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
    tail: deque[str] = deque(maxlen=400)

    def pass_on() -> None:
        # A signal that comes while all threads are stopped goes to any of them; only the main one's wait is ended by it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        for raw in process.stdout:
            line = raw.decode(errors="replace")
            tail.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()

    reader = threading.Thread(target=pass_on, daemon=True)
    reader.start()
    code = process.wait()
    # What the program left running may hold the pipe open for ever: its last words get a moment, no more.
    reader.join(timeout=2)
    return code, "".join(list(tail))


def traceback_in(output: str) -> str:
    """The program's own traceback, without torchrun's around it; else the last lines.

    Of several the first is taken, with what it is chained to: later ones are peers that lost their connection.
    """
    kept: list[str] = []
    for block in output.split("Traceback (most recent call last):\n")[1:]:
        lines = ["Traceback (most recent call last):"]
        for raw in block.splitlines():
            text = raw.partition("]:")[2].removeprefix(" ") if raw.startswith("[rank") else raw
            lines.append(text)
            if text and not text.startswith((" ", "\t")):
                break  # the exception's own line ends a traceback
        if any("torch/distributed/run.py" in line for line in lines):
            continue
        kept += lines
        if "During handling of the above" not in block and "direct cause of the following" not in block:
            break
    return "\n".join(kept or output.splitlines()[-20:])


def main() -> int:
    hyperparameters = {k: decoded(v) for k, v in read_config("hyperparameters.json").items()}
    resources = read_config("resourceconfig.json")
    try:
        program = str(hyperparameters.get("sagemaker_program") or os.environ.get("SAGEMAKER_PROGRAM", ""))
        location = str(hyperparameters.get("sagemaker_submit_directory") or "")
        if not program or not location:
            raise ScriptModeError(
                "the hyperparameters sagemaker_program and sagemaker_submit_directory are needed: the name of the "
                "script, and the S3 URI of the source archive that holds it"
            )
        fetch_code(location)
        if not (CODE / program).is_file():
            raise ScriptModeError(f"the source archive {location} holds no {program!r}")
        (CODE / program).chmod(0o755)
        if (CODE / "requirements.txt").exists():
            install_requirements()
        resolve_hosts(resources["hosts"])
        paths = os.pathsep.join(str(path) for path in (CODE, PACKAGES) if path.exists())
        env = {**os.environ, **environment(hyperparameters, resources, program), "PYTHONPATH": paths}
        port = os.environ.get("MASTER_PORT", DEFAULT_MASTER_PORT)
        code, output = run(command(program, hyperparameters, resources, port), env)
    except (ScriptModeError, OSError, EOFError, tarfile.TarError, zlib.error) as error:
        print(f"ClientError: {error}", flush=True)  # noqa: T201 - the job's log
        (BASE / "output/failure").write_text(f"ClientError: {error}"[:1024])
        return 1
    if code:
        text = traceback_in(output)
        # Long tracebacks lose their middle: the first line names the failure, the last ones the cause.
        head = f"AlgorithmError: {program} ended with exit code {code}\n"
        (BASE / "output/failure").write_text((head + text[-(1024 - len(head)) :])[:1024])
    return code if 0 <= code < 256 else 128 - code


if __name__ == "__main__":
    sys.exit(main())

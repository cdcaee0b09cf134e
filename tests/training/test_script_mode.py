"""Script mode, as an instance runs it: the real file in a process of its own, over a tree like /opt/ml."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from millrace.training import script_mode
from millrace.training.environment import TrainingEnvironment
from millrace.training.script_mode import ScriptModeError, command, decoded, traceback_in, user_arguments
from tests.runtime.jobs import archive
from tests.runtime.process import until

PROGRAM = Path(script_mode.__file__)
RESOURCES: dict[str, Any] = {
    "current_host": "127.0.0.1",
    "current_instance_type": "ml.m5.large",
    "current_group_name": "homogeneousCluster",
    "hosts": ["127.0.0.1"],
    "instance_groups": [
        {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": ["127.0.0.1"]}
    ],
    "network_interface_name": "lo",
}
TELLS = """
import json, os, sys, pathlib
seen = {"arguments": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}
(pathlib.Path(os.environ["SM_MODEL_DIR"]) / "seen.json").write_text(json.dumps(seen))
"""


@dataclass
class Tree:
    """A job's /opt/ml on this machine, and the program run over it."""

    base: Path

    def write(
        self, hyperparameters: Mapping[str, str], files: Mapping[str, str], channels: tuple[str, ...] = ()
    ) -> None:
        for folder in ("input/config", "model", "output/data", *(f"input/data/{name}" for name in channels)):
            (self.base / folder).mkdir(parents=True)
        (self.base / "source.tar.gz").write_bytes(archive(files))
        told = {
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": json.dumps(str(self.base / "source.tar.gz")),
        }
        documents = {
            "hyperparameters": {k: v for k, v in {**told, **hyperparameters}.items() if v},
            "resourceconfig": RESOURCES,
            "inputdataconfig": {name: {"TrainingInputMode": "File"} for name in channels},
        }
        for name, document in documents.items():
            (self.base / f"input/config/{name}.json").write_text(json.dumps(document))

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "SAGEMAKER_BASE_DIR": str(self.base), "TRAINING_JOB_NAME": "job-1"}

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", str(PROGRAM)], env=self.env, capture_output=True, text=True, check=False
        )

    @property
    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.base / "model/seen.json").read_text())
        return found

    @property
    def failure(self) -> str:
        return (self.base / "output/failure").read_text()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "ml")


def test_hyperparameters_become_sorted_arguments_and_the_reserved_ones_do_not(tree: Tree) -> None:
    tree.write(
        {"learning-rate": "0.5", "epochs": "3", "label": '"a digit"', "plain": "text", "flag": "true", "list": "[1, 2]",
         "_tuning_objective_metric": '"accuracy"', "sagemaker_region": '"us-east-1"'},
        {"train.py": TELLS},
    )  # fmt: skip
    ended = tree.run()
    assert ended.returncode == 0, ended.stdout
    assert tree.seen["arguments"] == [
        "--epochs", "3", "--flag", "true", "--label", "a digit", "--learning-rate", "0.5", "--list", "[1,2]",
        "--plain", "text",
    ]  # fmt: skip
    assert Path(tree.seen["cwd"]) == (tree.base / "code").resolve()
    assert not (tree.base / "output/failure").exists()


def test_the_variables_of_script_mode_say_where_everything_is(tree: Tree) -> None:
    tree.write({"epochs": "3", "label": '"digit"'}, {"train.py": TELLS}, channels=("train", "validation"))
    assert tree.run().returncode == 0
    found = tree.seen["environment"]
    ml = str(tree.base)
    assert {name: found[name] for name in found if name.startswith("SM_CHANNEL_")} == {
        "SM_CHANNEL_TRAIN": f"{ml}/input/data/train", "SM_CHANNEL_VALIDATION": f"{ml}/input/data/validation",
    }  # fmt: skip
    expected = {
        "SM_MODEL_DIR": f"{ml}/model", "SM_OUTPUT_DATA_DIR": f"{ml}/output/data", "SM_OUTPUT_DIR": f"{ml}/output",
        "SM_INPUT_DIR": f"{ml}/input", "SM_INPUT_CONFIG_DIR": f"{ml}/input/config", "SM_CURRENT_HOST": "127.0.0.1",
        "SM_HOSTS": '["127.0.0.1"]', "SM_CHANNELS": '["train","validation"]', "SM_HPS": '{"epochs":3,"label":"digit"}',
        "SM_HP_EPOCHS": "3", "SM_HP_LABEL": "digit", "SM_USER_ENTRY_POINT": "train.py", "SM_MODULE_NAME": "train",
        "SM_NETWORK_INTERFACE_NAME": "lo", "GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo",
        "SM_CURRENT_INSTANCE_TYPE": "ml.m5.large", "SM_IS_HETERO": "false", "SM_JOB_NAME": "job-1", "SM_LOG_LEVEL": "20",
        "SM_USER_ARGS": '["--epochs","3","--label","digit"]', "PYTHONPATH": f"{ml}/code",
    }  # fmt: skip
    assert {name: found.get(name) for name in expected} == expected
    assert int(found["SM_NUM_CPUS"]) == len(os.sched_getaffinity(0))
    assert json.loads(found["SM_TRAINING_ENV"])["channel_train"] == f"{ml}/input/data/train"
    assert json.loads(found["SM_RESOURCE_CONFIG"]) == RESOURCES


def test_a_script_imports_what_lies_beside_it(tree: Tree) -> None:
    files = {
        "train.py": "from parts import network\nprint(network.NAME)\n",
        "parts/__init__.py": "",
        "parts/network.py": "NAME='net'",
    }
    tree.write({}, files)
    assert "net" in tree.run().stdout


def test_an_executable_that_is_no_python_gets_the_same_arguments(tree: Tree) -> None:
    tree.write({"sagemaker_program": '"train.sh"', "epochs": "3", "label": '"two words"'}, {})
    script = b'#!/bin/sh\nprintf "<%s>" "$@"\n'
    member = tarfile.TarInfo("train.sh")
    member.size, member.mode = len(script), 0o755
    with tarfile.open(tree.base / "source.tar.gz", "w:gz") as tar:
        tar.addfile(member, io.BytesIO(script))
    assert tree.run().stdout == "<--epochs><3><--label><two words>"


@pytest.mark.parametrize("missing", ["sagemaker_program", "sagemaker_submit_directory"])
def test_a_job_that_is_not_told_its_program_or_source_says_what_is_needed(tree: Tree, missing: str) -> None:
    tree.write({missing: ""}, {"train.py": TELLS})
    ended = tree.run()
    assert ended.returncode == 1
    assert tree.failure.startswith("ClientError: the hyperparameters sagemaker_program and sagemaker_submit_directory")
    assert tree.failure in ended.stdout


def test_a_program_that_the_archive_does_not_hold_is_named(tree: Tree) -> None:
    tree.write({"sagemaker_program": '"trian.py"'}, {"train.py": TELLS})
    assert tree.run().returncode == 1
    assert tree.failure == f"ClientError: the source archive {tree.base}/source.tar.gz holds no 'trian.py'"


@pytest.mark.parametrize("what", ["missing", "folder", "text"])
def test_a_source_archive_that_is_none_is_named(tree: Tree, what: str) -> None:
    tree.write({}, {"train.py": TELLS})
    source = tree.base / "source.tar.gz"
    source.unlink()
    if what == "folder":
        source.mkdir()
    elif what == "text":
        source.write_text("no archive")
    ended = tree.run()
    assert ended.returncode == 1
    assert tree.failure.startswith("ClientError: ")
    assert "Traceback" not in ended.stderr
    assert what == "text" or str(source) in tree.failure


def test_an_archive_that_would_write_outside_is_refused(tree: Tree) -> None:
    tree.write({}, {"train.py": TELLS, "../../outside.py": "x"})
    assert tree.run().returncode == 1
    assert "outside" in tree.failure
    assert not (tree.base.parent / "outside.py").exists()


def test_a_failing_script_leaves_its_own_traceback_and_exit_code(tree: Tree) -> None:
    tree.write({}, {"train.py": "print('epoch 1')\nraise RuntimeError('the loss is not a number')\n"})
    ended = tree.run()
    assert ended.returncode == 1
    assert "epoch 1" in ended.stdout
    assert tree.failure.startswith(
        "AlgorithmError: train.py ended with exit code 1\nTraceback (most recent call last):"
    )
    assert tree.failure.endswith("RuntimeError: the loss is not a number")


@pytest.mark.parametrize(("script", "code"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_scripts_exit_code_or_signal_is_the_jobs(tree: Tree, script: str, code: int) -> None:
    tree.write({}, {"train.py": script})
    assert tree.run().returncode == code


@pytest.mark.parametrize("character", ["x", "ü"])
def test_the_failure_file_keeps_to_1024_characters_and_keeps_head_and_cause(tree: Tree, character: str) -> None:
    deep = f"def f(n):\n    return f(n - 1) if n else 1 / 0  # {character * 200}\nf(30)\n"
    tree.write({}, {"train.py": deep})
    tree.run()
    assert len(tree.failure) == 1024
    assert tree.failure.startswith("AlgorithmError: train.py ended with exit code 1\n")
    assert tree.failure.endswith("ZeroDivisionError: division by zero")


def test_output_that_is_not_utf8_passes_through(tree: Tree) -> None:
    tree.write({}, {"train.py": "import sys\nsys.stdout.buffer.write(b'\\xff\\xfe ok\\n')\nraise SystemExit(1)\n"})
    assert "ok" in tree.run().stdout
    assert "ok" in tree.failure


def test_a_sigterm_reaches_the_script_which_may_save_what_it_has(tree: Tree) -> None:
    saves = (
        "import os, pathlib, signal, sys, time\n"
        "model = pathlib.Path(os.environ['SM_MODEL_DIR'])\n"
        "def save(*_):\n    (model / 'saved').touch()\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n(model / 'ready').touch()\ntime.sleep(60)\n"
    )
    tree.write({}, {"train.py": saves})
    process = subprocess.Popen([sys.executable, "-P", str(PROGRAM)], env=tree.env, stdout=subprocess.DEVNULL)
    until((tree.base / "model/ready").exists, 20, "the script's start")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    assert (tree.base / "model/saved").exists()


def test_what_a_script_leaves_running_does_not_hold_its_job_open(tree: Tree) -> None:
    leaves = "import subprocess\nsubprocess.Popen(['sleep', '15'])\nprint('done')\n"
    tree.write({}, {"train.py": leaves})
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-P", str(PROGRAM)], env=tree.env, stdout=subprocess.DEVNULL)
    assert process.wait(timeout=14) == 0
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("0.5", 0.5), ('"3"', "3"), ("true", True), ("True", "True"), ("", ""), ("a: b", "a: b")],
)
def test_hyperparameters_are_json_where_they_can_be_and_text_where_not(text: str, value: object) -> None:
    assert decoded(text) == value
    assert type(decoded(text)) is type(value)


def test_arguments_that_are_no_strings_are_compact_json() -> None:
    assert user_arguments({"b": {"x": [1, 2]}, "a": None}) == ["--a", "null", "--b", '{"x":[1,2]}']


def torchrun(hosts: list[str], current: str, **hyperparameters: Any) -> list[str]:
    told = {"sagemaker_torch_distributed_enabled": True, "epochs": 3, **hyperparameters}
    return command("train.py", told, {"hosts": hosts, "current_host": current}, "7777")


def test_torchrun_on_one_host_needs_no_rendezvous() -> None:
    assert torchrun(["algo-1"], "algo-1") == [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc_per_node", "1",
        "train.py", "--epochs", "3",
    ]  # fmt: skip


@pytest.mark.parametrize(("current", "rank"), [("algo-1", "0"), ("algo-2", "1"), ("algo-3", "2")])
def test_torchrun_on_several_hosts_meets_at_the_first_under_a_rank_of_its_own(current: str, rank: str) -> None:
    argv = torchrun(["algo-1", "algo-2", "algo-3"], current)
    flags = dict(zip(argv[3 : argv.index("train.py") : 2], argv[4 : argv.index("train.py") : 2], strict=True))
    assert flags == {
        "--nnodes": "3", "--nproc_per_node": "1", "--master_addr": "algo-1", "--master_port": "7777",
        "--node_rank": rank, "--local_addr": current,
    }  # fmt: skip


def test_the_number_of_processes_can_be_asked_for_and_is_never_none() -> None:
    assert "--nproc_per_node 4" in " ".join(torchrun(["a"], "a", sagemaker_nproc_per_node=4))
    assert "--nproc_per_node 1" in " ".join(torchrun(["a"], "a", sagemaker_nproc_per_node=0))


def test_torchrun_without_a_python_program_is_refused() -> None:
    with pytest.raises(ScriptModeError, match=r"'train\.sh'"):
        command("train.sh", {"sagemaker_torch_distributed_enabled": True}, {"hosts": ["a"], "current_host": "a"}, "1")


@pytest.mark.parametrize("said", [False, "true", 1, None])
def test_torchrun_is_used_only_when_it_is_truly_asked_for(said: object) -> None:
    argv = command(
        "train.py", {"sagemaker_torch_distributed_enabled": said}, {"hosts": ["a"], "current_host": "a"}, "1"
    )
    assert argv == [sys.executable, "train.py"]


OWN = """Traceback (most recent call last):
  File "/opt/ml/code/train.py", line 3, in <module>
    main()
ValueError: too few rows
"""
AROUND = """Traceback (most recent call last):
  File "/lib/torch/distributed/run.py", line 900, in main
    run(args)
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============
train.py FAILED
"""


def test_the_scripts_own_traceback_is_picked_from_torchruns() -> None:
    assert traceback_in("epoch 1\n" + OWN + AROUND) == OWN.rstrip()


def test_the_prefix_of_a_rank_is_taken_off() -> None:
    ranked = "".join(f"[rank1]: {line}\n" for line in OWN.splitlines())
    assert traceback_in(ranked) == OWN.rstrip()


def test_of_two_ranks_the_first_to_fail_is_shown_and_not_the_peer_that_lost_it() -> None:
    peer = OWN.replace("ValueError: too few rows", "RuntimeError: connection closed by peer")
    assert traceback_in(OWN + peer + AROUND) == OWN.rstrip()


@pytest.mark.parametrize(
    "between",
    ["During handling of the above exception, another exception occurred:",
     "The above exception was the direct cause of the following exception:"],
)  # fmt: skip
def test_a_chained_exception_is_shown_with_its_cause(between: str) -> None:
    second = OWN.replace("ValueError: too few rows", "RuntimeError: cannot train")
    found = traceback_in(f"{OWN}\n{between}\n\n{second}")
    assert "ValueError: too few rows" in found
    assert found.endswith("RuntimeError: cannot train")


def test_without_a_traceback_the_last_lines_are_shown() -> None:
    assert traceback_in("\n".join(f"line {n}" for n in range(50))).splitlines() == [f"line {n}" for n in range(30, 50)]
    assert traceback_in("") == ""


def test_a_training_script_reads_its_environment_from_the_same_tree(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.write({}, {}, channels=("train",))
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tree.base))
    found = TrainingEnvironment.load()
    assert (found.hosts, found.current_host) == (("127.0.0.1",), "127.0.0.1")
    assert found.channel("train") == tree.base / "input/data/train"
    assert (found.model_dir, found.output_dir) == (tree.base / "model", tree.base / "output/data")
    with pytest.raises(FileNotFoundError, match=r"no channel 'test'; it has \['train'\]"):
        found.channel("test")


def test_outside_of_a_training_job_there_is_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="resourceconfig"):
        TrainingEnvironment.load()

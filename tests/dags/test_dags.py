"""The DAG files: they parse without anything heavy, say what they should, and stay short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DAGS = sorted((PROJECT / "dags").glob("*.py"))
HEAVY = ["torch", "pandas", "numpy", "boto3", "botocore", "mlflow", "great_expectations", "scipy", "sklearn", "pyarrow"]
LOOK = """
import importlib.util, json, pathlib, sys
path = pathlib.Path(sys.argv[1])
spec = importlib.util.spec_from_file_location(path.stem, path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
dag = getattr(module, path.stem)()
print(json.dumps({
    "loaded": sorted(name for name in json.loads(sys.argv[2]) if name in sys.modules),
    "dag_id": dag.dag_id,
    "tasks": {task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks},
    "params": dag.params.dump(),
    "retries": sorted({task.retries for task in dag.tasks}),
    "max_active_runs": dag.max_active_runs,
}))
"""


def look(path: Path, home: Path) -> dict[str, object]:
    """A DAG file, parsed by a fresh interpreter that has nothing but the project."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(path), json.dumps(HEAVY)],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(home), "HOME": str(home)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_dag_parses_without_settings_and_without_heavy_imports(path: Path, tmp_path: Path) -> None:
    seen = look(path, tmp_path)
    assert seen["loaded"] == []
    assert seen["dag_id"] == path.stem
    assert len(path.read_text().splitlines()) <= 125


def test_training_deploys_only_behind_both_gates_and_the_approval(tmp_path: Path) -> None:
    seen = look(PROJECT / "dags/digits_training.py", tmp_path)
    tasks = seen["tasks"]
    assert isinstance(tasks, dict)
    before: set[str] = set()
    waiting = ["deploy"]
    while waiting:
        upstream = tasks[waiting.pop()]
        before |= set(upstream)
        waiting += upstream
    assert before == {"prepare", "data_gate", "train", "evaluate", "metrics_gate", "register", "approve"}
    assert seen["max_active_runs"] == 1
    assert seen["params"] == {"source_uri": "", "approval_required": True, "max_cost": None}


def test_plugin_loader_leaves_the_operators_alone(tmp_path: Path) -> None:
    look_for = """
import sys
from airflow import plugins_manager
plugins_manager.get_import_errors()
assert "training" not in sys.modules and "processing" not in sys.modules, "the loader imported operators by bare stem"
import operators, pathlib
assert pathlib.Path(list(operators.__path__)[0]).parent.name == "plugins", operators.__path__
"""
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", look_for], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_wrong_literal_is_an_import_error_that_names_argument_value_and_fix(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    text = (PROJECT / "dags/digits_training.py").read_text()
    path.write_text(text.replace("instance_type=settings.training_instance", 'instance_type="ml.huge"'))
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "ResourceConfig.InstanceType is 'ml.huge' and must be one of" in done.stderr

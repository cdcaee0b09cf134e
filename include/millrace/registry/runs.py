"""MLflow runs: what a job measured and drew, logged by the operator that waited for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .models import JOB_TAG


def log_run(
    experiment: str,
    name: str,
    *,
    job: str,
    params: Mapping[str, object],
    metrics: Mapping[str, float],
    artifacts: Mapping[str, Path],
    tracking_uri: str | None = None,
) -> str:
    """Log one job's result as an MLflow run and return the run's id. A retry finds the run it made by the job's name.

    `artifacts` maps names to local files; each is logged under its own file name.
    """
    from mlflow.tracking import MlflowClient

    client: Any = MlflowClient(tracking_uri=tracking_uri)
    experiment_id = _experiment(client, experiment)
    known = client.search_runs([experiment_id], f"tags.`{JOB_TAG}` = '{job}'", max_results=1)
    run = known[0] if known else client.create_run(experiment_id, run_name=name, tags={JOB_TAG: job})
    run_id = str(run.info.run_id)
    for key, value in params.items():
        client.log_param(run_id, key, value)
    for key, number in metrics.items():
        client.log_metric(run_id, key, number)
    for path in artifacts.values():
        client.log_artifact(run_id, str(path))
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _experiment(client: Any, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException as error:  # another task made it meanwhile
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return str(client.get_experiment_by_name(name).experiment_id)

"""ChallengeOperator: champion against challenger on the same fresh, labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millrace.retraining.record import Record
from millrace.sagemaker.deployment import Deployment
from millrace.verdict import Verdict
from operators.history import (
    CHAMPION_VARIABLE,
    RUN_TIME,
    champion_of,
    history_of,
    publish_page,
    window_end,
    written_by,
)
from operators.links import HistoryLink, JobLink
from operators.processing import ProcessingOperator
from operators.registry import check_artifact

if TYPE_CHECKING:
    from airflow.sdk import Context


class ChallengeOperator(ProcessingOperator):
    """Score the same labelled rows with the champion and a challenger, in a job, and write down who won and why.

    The job finds the two archives under input/champion and input/challenger and the rows under input/data, and leaves a
    verdict: passed means that the challenger won, and its summary says why. `millrace.monitoring.challenge` compares two
    models' scores with a confidence interval. While there is no champion, input/champion is not there. The task succeeds
    either way; a PromoteModelOperator or DeployEndpointOperator behind it does what follows.

    Args:
        module: the job's module.
        model: the registered model.
        artifact: URI of the challenger's model.tar.gz.
        data: S3 URI of labelled rows that neither has been trained on.
        window: the time that the decision is about; by default the run's.

    Example::

        challenge = ChallengeOperator(
            task_id="challenge", module="pipelines.digits.jobs.evaluate", model="digits",
            artifact=train.output["model"], data=prepare.output["test"], packages=("pipelines.digits",),
            instance_type="ml.m5.large",
        )
    """

    template_fields: Sequence[str] = (*ProcessingOperator.template_fields, "data", "model", "artifact", "window")
    operator_extra_links = (JobLink(), HistoryLink())
    ui_color = "#fff4d6"

    def __init__(self, *, model: str, artifact: Any, data: Any, window: Any = RUN_TIME, **kwargs: Any) -> None:
        self.data = data  # a template field of its own, so that a mapped task comes after what makes it
        self.model = model
        self.artifact = artifact
        self.window = window
        super().__init__(
            inputs={"data": data}, required_inputs=("data",), outputs=("challenge",), verdict="challenge", **kwargs
        )

    def prepare(self, deployment: Deployment) -> None:
        from millrace.registry.models import CHAMPION, Registry

        window_end(self.window)  # before the job is paid for: its result must have a time
        check_artifact(self.artifact)
        champion = Registry().by_alias(self.model, CHAMPION)
        self.inputs = {**self.inputs, "challenger": self.artifact}
        if champion is not None:
            self.inputs |= {"champion": champion.source}
            self.environment = {**self.environment, CHAMPION_VARIABLE: champion.version}
        super().prepare(deployment)

    def judge(self, verdict: Verdict, uri: str, context: Context) -> dict[str, Any]:
        history, job_name = history_of(self.model, self._s3), str(self.job[self.kind.name_field])
        champion = champion_of(self.job)
        record = Record(
            kind="challenge", at=window_end(self.window), subject=str(self.artifact),
            outcome="won" if verdict.passed else "lost", summary="Champion and challenger have scored the same rows.",
            action="promote" if verdict.passed else "refuse", why=verdict.summary, champion=champion,
            facts=verdict.metrics, links={name: f"{uri}/{path}" for name, path in verdict.artifacts.items()},
            by=written_by(context, job_name),
        )  # fmt: skip
        history.add(record, job_name)
        publish_page(self, history, context)
        return {"champion": champion, "history": history.page_uri}

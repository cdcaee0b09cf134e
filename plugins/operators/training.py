"""TrainingOperator: a script of the pipeline's own code in a training job, on one or more instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from millrace.sagemaker import artifacts, source
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.kinds import TRAINING, JobKind
from millrace.sagemaker.requests import Cluster, TrainingRequest
from operators.job import PARSING, JobOperator, literal

if TYPE_CHECKING:
    from airflow.sdk import Context


class TrainingOperator(JobOperator):
    """Train with a script of the source archive, in script mode; under torchrun when `distributed`.

    `.output["model"]` is the URI of model.tar.gz: what the script left in /opt/ml/model.

    Args:
        program: the script's path in the source archive.
        packages: packages of job code that travel with the job; the parts of millrace they import come along.
        channels: name to S3 URI, 1 to 20.
        hyperparameters: passed to the script as `--name value`.
        instance_type: SageMaker's instance type, for example `ml.c5.xlarge`.
        instance_count: with `distributed`, torchrun starts one node on each.
        image: the image to run in, the deployment's jobs image when None.

    Example::

        train = TrainingOperator(
            task_id="train",
            program="pipelines/digits/jobs/train.py",
            packages=("pipelines.digits",),
            channels={"train": prepare.output["train"]},
            hyperparameters={"epochs": 14},
            instance_type="ml.c5.xlarge",
            instance_count=2,
            distributed=True,
        )
    """

    kind: ClassVar[JobKind] = TRAINING
    template_fields: Sequence[str] = (
        *JobOperator.template_fields, "channels", "hyperparameters", "environment", "instance_type", "image",
    )  # fmt: skip
    ui_color = "#e3f6e5"

    def __init__(
        self,
        *,
        program: str,
        packages: Sequence[str],
        channels: Mapping[str, Any],
        instance_type: str,
        hyperparameters: Mapping[str, Any] | None = None,
        instance_count: int = 1,
        distributed: bool = False,
        environment: Mapping[str, str] | None = None,
        max_runtime: timedelta = timedelta(hours=24),
        network_isolation: bool = False,
        image: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.program = program
        self.packages = tuple(packages)
        self.channels = dict(channels)
        self.hyperparameters = dict(hyperparameters or {})
        self.environment = dict(environment or {})
        self.instance_type = instance_type
        self.instance_count = instance_count
        self.distributed = distributed
        self.max_runtime = max_runtime
        self.network_isolation = network_isolation
        self.image = image
        self._code_uri = PARSING
        parsing = self._request(
            role=PARSING, image=literal(image) or PARSING, job_name=PARSING, prefix=PARSING,
            channels=literal(self.channels), hyperparameters=literal(self.hyperparameters),
            environment=literal(self.environment), instance_type=literal(instance_type),
        )  # fmt: skip
        self.check_literals(parsing)

    def prepare(self, deployment: Deployment) -> None:
        self._code_uri = source.archive(self.packages).upload(self._s3, deployment.bucket)

    def build(self, deployment: Deployment, job_name: str, prefix: str) -> dict[str, Any]:
        return self._request(
            role=deployment.role_arn, image=self.image or deployment.jobs_image, job_name=job_name, prefix=prefix,
            channels=self.channels, hyperparameters=self.hyperparameters, environment=self.environment,
            instance_type=self.instance_type,
        )  # fmt: skip

    def _request(
        self, *, role: str, image: str, job_name: str, prefix: str, channels: Mapping[str, Any],
        hyperparameters: Mapping[str, Any], environment: Mapping[str, str], instance_type: str,
    ) -> dict[str, Any]:  # fmt: skip
        return TrainingRequest(
            job_name=job_name,
            role_arn=role,
            image=image,
            program=self.program,
            code_uri=self._code_uri,
            output_uri=prefix,
            cluster=Cluster(instance_type=instance_type, instance_count=self.instance_count),
            channels=channels,
            hyperparameters=hyperparameters,
            environment=environment,
            distributed=self.distributed,
            network_isolation=self.network_isolation,
            max_runtime_seconds=int(self.max_runtime.total_seconds()),
        ).to_api()

    def harvest(self, description: dict[str, Any], context: Context) -> dict[str, Any]:
        model = description["ModelArtifacts"]["S3ModelArtifacts"]
        self.publish(context, model=model)
        return {"model": model, "metrics": artifacts.metrics(description)}

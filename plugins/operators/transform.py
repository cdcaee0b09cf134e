"""BatchTransformOperator: the champion over a batch, each prediction joined to its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from millrace.sagemaker import hosting
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.kinds import TRANSFORM, JobKind
from millrace.sagemaker.requests import Cluster, ModelRequest, TransformRequest
from operators.history import CHAMPION_VARIABLE, champion_of
from operators.job import PARSING, JobOperator, literal

if TYPE_CHECKING:
    from airflow.sdk import Context


class BatchTransformOperator(JobOperator):
    """Transform every line of the objects under `data` with the champion of a registered model.

    `.output["predictions"]` is the S3 prefix of the joined output, one `.out` file for each input object;
    `.output["model_name"]` is the SageMaker model that was used, `.output["version"]` the champion's version.

    Args:
        model: the registered model; its champion's archive is served.
        data: S3 URI of the input.
        content_type: of input and output, `text/csv` or `application/jsonlines`.
        instance_type: SageMaker's instance type, for example `ml.m5.large`.
        environment: the model container's variables.

    Example::

        score = BatchTransformOperator(
            task_id="score", model="digits", data=batch.output["features"], instance_type="ml.m5.large"
        )
    """

    kind: ClassVar[JobKind] = TRANSFORM
    template_fields: Sequence[str] = (*JobOperator.template_fields, "model", "data", "instance_type", "image")
    ui_color = "#e3f6e5"

    def __init__(
        self,
        *,
        model: str,
        data: Any,
        instance_type: str,
        instance_count: int = 1,
        content_type: str = "text/csv",
        max_payload_mb: int = 6,
        max_concurrent: int = 1,
        environment: Mapping[str, str] | None = None,
        image: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.data = data
        self.instance_type = instance_type
        self.instance_count = instance_count
        self.content_type = content_type
        self.max_payload_mb = max_payload_mb
        self.max_concurrent = max_concurrent
        self.environment = dict(environment or {})
        self.image = image
        self._model_name = PARSING
        self._version = PARSING
        self.check_literals(self._request(PARSING, PARSING, literal(data), literal(instance_type)))

    def prepare(self, deployment: Deployment) -> None:
        from millrace.registry.models import Registry

        champion = Registry().champion(self.model)
        request = ModelRequest(
            name=self.model,
            role_arn=deployment.role_arn,
            image=self.image or deployment.jobs_image,
            model_data_uri=champion.source,
            environment=self.environment,
        )
        tags = [{"Key": "millrace:deployment", "Value": deployment.id}]
        self._version = champion.version
        self._model_name = hosting.ensure_model(self._sagemaker, deployment.id, request, tags)

    def build(self, deployment: Deployment, job_name: str, prefix: str) -> dict[str, Any]:
        return self._request(job_name, prefix, self.data, self.instance_type)

    def _request(self, job_name: str, prefix: str, data: str, instance_type: str) -> dict[str, Any]:
        return TransformRequest(
            job_name=job_name,
            model_name=self._model_name,
            input_uri=data,
            output_uri=f"{prefix}/predictions",
            cluster=Cluster(instance_type=instance_type, instance_count=self.instance_count),
            content_type=self.content_type,
            max_payload_mb=self.max_payload_mb,
            max_concurrent=self.max_concurrent,
            environment={CHAMPION_VARIABLE: self._version},
        ).to_api()

    def harvest(self, description: dict[str, Any], context: Context) -> dict[str, Any]:
        predictions = description["TransformOutput"]["S3OutputPath"]
        found = {
            "predictions": predictions, "model_name": description["ModelName"], "version": champion_of(description),
        }  # fmt: skip
        self.publish(context, **found)
        return found

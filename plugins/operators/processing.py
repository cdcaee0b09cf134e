"""ProcessingOperator: a module of the pipeline's own code in a processing job."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from millrace.sagemaker import source
from millrace.sagemaker.deployment import Deployment
from millrace.sagemaker.kinds import PROCESSING, JobKind
from millrace.sagemaker.preflight import PreflightError
from millrace.sagemaker.requests import Cluster, ProcessingRequest
from millrace.verdict import FILE_NAME, MAX_BYTES, Verdict, parse
from operators.job import PARSING, JobOperator, literal

if TYPE_CHECKING:
    from airflow.sdk import Context


class ProcessingOperator(JobOperator):
    """Run `python -m <module>` of the source archive in a SageMaker processing job.

    The job finds its inputs in `input/<name>` of its working directory and leaves its outputs in `output/<name>`.
    Every output is available to later tasks as `.output["<name>"]`, the URI of its S3 prefix.

    Args:
        module: the dotted name of the module to run.
        packages: packages of job code that travel with the job; the parts of millrace they import come along.
        inputs: name to S3 URI. An input whose URI renders to nothing is left out, unless it is one of `required_inputs`.
        sharded: names of the inputs of which each of several instances gets other objects (SageMaker's ShardedByS3Key); of
            the others each gets all.
        outputs: names of the output folders.
        arguments: the module's command line.
        instance_type: SageMaker's instance type, for example `ml.m5.large`.
        verdict: the output that holds a verdict.json; its metrics and summary become part of the task's result.
        experiment: the MLflow experiment to log the verdict's metrics and artifacts to; the run's id becomes
            `.output["mlflow_run_id"]`.
        image: the image to run in, the deployment's jobs image when None.

    Example::

        prepare = ProcessingOperator(
            task_id="prepare",
            module="pipelines.digits.jobs.ingest",
            packages=("pipelines.digits",),
            inputs={"source": "{{ params.source_uri }}"},
            outputs=("raw", "train", "test"),
            instance_type="ml.m5.large",
        )
    """

    kind: ClassVar[JobKind] = PROCESSING
    template_fields: Sequence[str] = (
        *JobOperator.template_fields, "inputs", "arguments", "environment", "instance_type", "image",
    )  # fmt: skip

    def __init__(
        self,
        *,
        module: str,
        packages: Sequence[str],
        instance_type: str,
        inputs: Mapping[str, Any] | None = None,
        outputs: Sequence[str] = (),
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        instance_count: int = 1,
        max_runtime: timedelta = timedelta(hours=1),
        network_isolation: bool = False,
        required_inputs: Sequence[str] = (),
        sharded: Sequence[str] = (),
        verdict: str | None = None,
        experiment: str | None = None,
        image: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if verdict is not None and verdict not in outputs:
            raise ValueError(f"verdict is {verdict!r}; it must be one of the outputs {list(outputs)}")
        unknown = sorted(set(sharded) - set(inputs or {}))
        if unknown:
            raise ValueError(f"sharded names {unknown}; it must be of the inputs {list(inputs or {})}")
        if experiment is not None and verdict is None:
            raise ValueError("experiment needs verdict: the output whose metrics are to be logged")
        self.module = module
        self.packages = tuple(packages)
        self.inputs = dict(inputs or {})
        self.outputs = tuple(outputs)
        self.arguments = list(arguments)
        self.environment = dict(environment or {})
        self.instance_type = instance_type
        self.instance_count = instance_count
        self.max_runtime = max_runtime
        self.network_isolation = network_isolation
        self.required_inputs = tuple(required_inputs)
        self.sharded = tuple(sharded)
        self.verdict = verdict
        self.experiment = experiment
        self.image = image
        self._code_uri = PARSING
        self.job: dict[str, Any] = {}
        parsing = self._request(
            role=PARSING, image=literal(image) or PARSING, job_name=PARSING, prefix=PARSING,
            inputs=literal(self.inputs), arguments=literal(self.arguments), environment=literal(self.environment),
            instance_type=literal(instance_type),
        )  # fmt: skip
        self.check_literals(parsing)

    def prepare(self, deployment: Deployment) -> None:
        for name in self.required_inputs:
            if not self.inputs.get(name):
                raise PreflightError(f"the input {name!r} has rendered to nothing; it must be an S3 URI")
        self._code_uri = source.archive(self.packages).upload(self._s3, deployment.bucket)

    def build(self, deployment: Deployment, job_name: str, prefix: str) -> dict[str, Any]:
        return self._request(
            role=deployment.role_arn, image=self.image or deployment.jobs_image, job_name=job_name, prefix=prefix,
            inputs=self.inputs, arguments=self.arguments, environment=self.environment,
            instance_type=self.instance_type,
        )  # fmt: skip

    def _request(
        self, *, role: str, image: str, job_name: str, prefix: str, inputs: Mapping[str, Any],
        arguments: Sequence[str], environment: Mapping[str, str], instance_type: str,
    ) -> dict[str, Any]:  # fmt: skip
        return ProcessingRequest(
            job_name=job_name,
            role_arn=role,
            image=image,
            module=self.module,
            code_uri=self._code_uri,
            cluster=Cluster(instance_type=instance_type, instance_count=self.instance_count),
            arguments=arguments,
            inputs={name: uri for name, uri in inputs.items() if uri},
            outputs={name: f"{prefix}/{name}" for name in self.outputs},
            sharded=self.sharded,
            environment=environment,
            network_isolation=self.network_isolation,
            max_runtime_seconds=int(self.max_runtime.total_seconds()),
        ).to_api()

    def harvest(self, description: dict[str, Any], context: Context) -> dict[str, Any]:
        self.job = description
        outputs = (description.get("ProcessingOutputConfig") or {}).get("Outputs") or []
        uris = {item["OutputName"]: item["S3Output"]["S3Uri"] for item in outputs}
        self.publish(context, **uris)
        result: dict[str, Any] = {"outputs": uris}
        if self.verdict is not None:
            verdict = read_verdict(self._s3, uris[self.verdict])
            self.log.info("%s: %s", verdict.gate, verdict.summary)
            result |= {"summary": verdict.summary, "metrics": verdict.metrics, "passed": verdict.passed}
            if self.experiment is not None:
                run_id = self._log_to_mlflow(self.experiment, verdict, uris[self.verdict], description)
                self.publish(context, mlflow_run_id=run_id)
                result["mlflow_run_id"] = run_id
            result |= self.judge(verdict, uris[self.verdict], context)
        return result

    def judge(self, verdict: Verdict, uri: str, context: Context) -> dict[str, Any]:
        """What a subclass makes of the verdict of `self.job`, which is described: members of the result, or a failure."""
        return {}

    def _log_to_mlflow(self, experiment: str, verdict: Verdict, uri: str, description: dict[str, Any]) -> str:
        from millrace.registry.runs import log_run

        bucket, prefix = split_uri(uri)
        with tempfile.TemporaryDirectory() as folder:
            artifacts = {}
            for name, relative in verdict.artifacts.items():
                path = Path(folder) / Path(relative).name
                self._s3.download_file(bucket, f"{prefix}/{relative}", str(path))
                artifacts[name] = path
            return log_run(
                experiment,
                description[self.kind.name_field],
                job=description[self.kind.name_field],
                params={"module": self.module, "instance_type": self.instance_type},
                metrics=verdict.metrics,
                artifacts=artifacts,
            )


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an S3 URI, without a trailing slash."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key.rstrip("/")


def read_verdict(s3: Any, uri: str) -> Verdict:
    """The verdict that a job left under an S3 prefix.

    Raises:
        VerdictError: it is too large or not a verdict.
        botocore.exceptions.ClientError: it is not there.
    """
    bucket, prefix = split_uri(uri)
    body = s3.get_object(Bucket=bucket, Key=f"{prefix}/{FILE_NAME}")["Body"]
    return parse(body.read(MAX_BYTES + 1))

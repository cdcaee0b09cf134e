"""The links from a task to its job or endpoint, in the Airflow UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperatorLink

from millrace.sagemaker.kinds import JobKind

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

CONSOLES = {
    "aws": "https://{region}.console.aws.amazon.com",
    "aws-cn": "https://{region}.console.amazonaws.cn",
    "aws-us-gov": "https://console.amazonaws-us-gov.com",
}
"""Where a partition of AWS has its console."""


class _PublishedLink(BaseOperatorLink):
    """An address that the task itself has pushed to XCom."""

    xcom_key_name: ClassVar[str]

    @property
    def xcom_key(self) -> str:
        return self.xcom_key_name

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        from airflow.sdk.execution_time.xcom import XCom

        value = XCom.get_value(key=self.xcom_key_name, ti_key=ti_key)
        return str(value or "")


class JobLink(_PublishedLink):
    """SageMaker's page of the job; published right after the job was submitted or adopted."""

    name = "SageMaker job"
    xcom_key_name = "sagemaker_job_link"

    @staticmethod
    def url(sagemaker: Any, kind: JobKind, job_name: str) -> str:
        """The console's address for AWS's endpoints, and the endpoint's own page for any other."""
        return _page(sagemaker, f"{kind.name}-jobs/{job_name}")


class EndpointLink(_PublishedLink):
    """SageMaker's page of the endpoint."""

    name = "SageMaker endpoint"
    xcom_key_name = "sagemaker_endpoint_link"

    @staticmethod
    def url(sagemaker: Any, endpoint: str) -> str:
        """As JobLink.url."""
        return _page(sagemaker, f"endpoints/{endpoint}")


def _page(sagemaker: Any, path: str) -> str:
    address, region = sagemaker.meta.endpoint_url, sagemaker.meta.region_name
    console = CONSOLES.get(sagemaker.meta.partition)
    if "amazonaws.com" in address and console:
        return f"{console.format(region=region)}/sagemaker/home?region={region}#/{path}"
    return f"{address}/console/{path}"

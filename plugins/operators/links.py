"""The links from a task to its job or endpoint, in the Airflow UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

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


class DriftReportLink(_PublishedLink):
    """The report of a drift monitor."""

    name = "Drift report"
    xcom_key_name = "drift_report_link"


class DataDocsLink(_PublishedLink):
    """The first page of a quality gate's Data Docs."""

    name = "Data Docs"
    xcom_key_name = "data_docs_link"


class HistoryLink(_PublishedLink):
    """What was found and decided about a model, as a page."""

    name = "Model history"
    xcom_key_name = "history_link"


def object_page(s3: Any, uri: str) -> str:
    """Where a browser finds an object: in AWS's console for AWS's endpoints, and at the endpoint itself for any other."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    address, region = s3.meta.endpoint_url, s3.meta.region_name
    console = CONSOLES.get(s3.meta.partition)
    if "amazonaws.com" in address and console:
        return f"{console.format(region=region)}/s3/object/{bucket}?prefix={quote(key)}&region={region}"
    return f"{address}/{bucket}/{quote(key)}"


def _page(sagemaker: Any, path: str) -> str:
    address, region = sagemaker.meta.endpoint_url, sagemaker.meta.region_name
    console = CONSOLES.get(sagemaker.meta.partition)
    if "amazonaws.com" in address and console:
        return f"{console.format(region=region)}/sagemaker/home?region={region}#/{path}"
    return f"{address}/console/{path}"

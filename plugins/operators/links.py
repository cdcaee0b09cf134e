"""The link from a task to its job, in the Airflow UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from millrace.sagemaker.kinds import JobKind

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class JobLink(BaseOperatorLink):
    """SageMaker's page of the job; published right after the job was submitted or adopted."""

    name = "SageMaker job"
    xcom_key_name = "sagemaker_job_link"

    @property
    def xcom_key(self) -> str:
        return self.xcom_key_name

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        from airflow.sdk.execution_time.xcom import XCom

        value = XCom.get_value(key=self.xcom_key_name, ti_key=ti_key)
        return str(value or "")

    @staticmethod
    def url(sagemaker: Any, kind: JobKind, job_name: str) -> str:
        """The console's address for AWS's endpoints, and the endpoint's own page for any other."""
        endpoint, region = sagemaker.meta.endpoint_url, sagemaker.meta.region_name
        if "amazonaws.com" in endpoint:
            return (
                f"https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/{kind.name}-jobs/{job_name}"
            )
        return f"{endpoint}/console/{kind.name}-jobs/{job_name}"

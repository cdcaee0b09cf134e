"""The peer of dags/digits_training.py for parse time: as many SageMaker tasks, written with the amazon provider's operators.

It is parsed and never run.
"""

from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerEndpointOperator,
    SageMakerProcessingOperator,
    SageMakerRegisterModelVersionOperator,
    SageMakerTrainingOperator,
)
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import chain, dag

ROLE = "arn:aws:iam::123456789012:role/jobs"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/jobs:1"
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}


def processing(task_id: str) -> SageMakerProcessingOperator:
    return SageMakerProcessingOperator(
        task_id=task_id,
        config={
            "ProcessingJobName": task_id,
            "RoleArn": ROLE,
            "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python", "-m", f"jobs.{task_id}"]},
            "ProcessingResources": {"ClusterConfig": CLUSTER},
        },
    )


@dag(schedule=None, catchup=False)  # type: ignore[untyped-decorator]
def provider_training() -> None:
    train = SageMakerTrainingOperator(
        task_id="train",
        config={
            "TrainingJobName": "train",
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
            "ResourceConfig": CLUSTER,
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    )
    register = SageMakerRegisterModelVersionOperator(
        task_id="register", image_uri=IMAGE, model_url="s3://bucket/output/model.tar.gz", package_group_name="digits"
    )
    approve = ApprovalOperator(task_id="approve", subject="Deploy?")
    deploy = SageMakerEndpointOperator(
        task_id="deploy",
        config={
            "Model": {"ModelName": "digits", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE}},
            "EndpointConfig": {"EndpointConfigName": "digits", "ProductionVariants": []},
            "Endpoint": {"EndpointName": "digits", "EndpointConfigName": "digits"},
        },
    )
    first = [processing(name) for name in ("prepare", "data_gate")]
    second = [processing(name) for name in ("evaluate", "metrics_gate")]
    chain(*first, train, *second, register, approve, deploy, processing("baseline"))


provider_training()

"""The programs of the lending pipeline that run inside SageMaker jobs."""

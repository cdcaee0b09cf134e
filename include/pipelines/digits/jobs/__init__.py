"""The programs of the digits pipeline that run inside SageMaker jobs."""

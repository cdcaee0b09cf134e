"""The answering side: SageMaker, S3 and the logs of jobs, on this machine.

What stays out: nothing here imports `millrace.sagemaker`, the asking side. The referee between the two is botocore's
service model, so that a mistake cannot be made once and believed twice.
"""

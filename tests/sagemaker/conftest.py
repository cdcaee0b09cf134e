"""One real runtime for the tests of this folder that speak over the wire."""

from tests.runtime.conftest import jobs, runtime, s3, sagemaker

__all__ = ["jobs", "runtime", "s3", "sagemaker"]

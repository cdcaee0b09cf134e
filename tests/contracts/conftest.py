"""One real runtime for the contract tests."""

from tests.runtime.conftest import jobs, runtime

__all__ = ["jobs", "runtime"]

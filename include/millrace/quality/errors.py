"""What can go wrong with what a gate was given; everything here ends a job with exit status 1 and its message.

    InputError
    |- BatchError    the rows: missing, unreadable or empty
    |- SuiteError    the suite: not found, not a suite, without expectations, or an argument that cannot be right
    `- PartError     the parts of several instances: missing, of different suites, or not what an instance writes

A failed expectation is not an error: it is a finding of the verdict.
"""

from __future__ import annotations

from millrace.job_exit import InputError


class BatchError(InputError):
    """The batch is missing, unreadable or empty."""


class SuiteError(InputError):
    """The suite cannot be loaded."""


class PartError(InputError):
    """The partial results of several instances cannot be merged."""

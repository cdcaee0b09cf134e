"""What can go wrong with what a gate was given; everything here ends a job with exit status 1 and its message.

    QualityError
    |- BatchError    the rows: missing, unreadable or empty
    `- SuiteError    the suite: not found, not a suite, or without expectations

A failed expectation is not an error: it is a finding of the verdict.
"""


class QualityError(ValueError):
    """An input of the gate cannot be used; the message says which and what would fix it."""


class BatchError(QualityError):
    """The batch is missing, unreadable or empty."""


class SuiteError(QualityError):
    """The suite cannot be loaded."""

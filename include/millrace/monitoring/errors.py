"""What can go wrong with what a job was given; everything here ends a job with exit status 1 and its message.

    MonitoringError
    |- DatasetError    the rows: missing, unreadable, empty, or of another shape from file to file
    `- FormatError     a Model Monitor file: missing, too large, not JSON, or a field missing or of the wrong type

It does not cover mistakes in our own code: those keep their traceback.
"""


class MonitoringError(ValueError):
    """An input of the job cannot be used; the message says which and what would fix it."""


class DatasetError(MonitoringError):
    """The dataset is missing, unreadable, empty or inconsistent."""


class FormatError(MonitoringError):
    """A Model Monitor file is missing, too large, not JSON, or not of the documented form."""

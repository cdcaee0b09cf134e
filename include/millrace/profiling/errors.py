"""What can go wrong with what is to be read; each ends a job with its message (`millrace.job_exit`).

InputError
|- DatasetError    the rows: missing, unreadable, empty, or of another shape from file to file
`- FormatError     a Model Monitor file: missing, too large, not JSON, or a field missing or of the wrong type
"""

from __future__ import annotations

from millrace.job_exit import InputError


class DatasetError(InputError):
    """The dataset is missing, unreadable, empty or inconsistent."""


class FormatError(InputError):
    """A Model Monitor file is missing, too large, not JSON, or not of the documented form."""

"""The words that a monitoring job ends with: its ExitMessage, which is the last line of its log too.

Model Monitor's own words come first, because code reads them; what else has to be known stands after them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from millrace.job_exit import MAX_MESSAGE
from millrace.monitoring.container_contract import BASE
from millrace.profiling.unreadable import Unreadable

NO_VIOLATIONS = "Completed: Job completed successfully with no violations."
VIOLATIONS = "CompletedWithViolations: Job completed successfully with {count} violations."


def leave(violations: int, notes: Sequence[str] = ()) -> None:
    """Say how the job has ended."""
    message = " ".join([VIOLATIONS.format(count=violations) if violations else NO_VIOLATIONS, *notes])
    print(message)
    folder = Path(os.environ.get("SAGEMAKER_BASE_DIR", BASE)) / "output"
    if folder.is_dir():
        (folder / "message").write_text(message[:MAX_MESSAGE], encoding="utf-8")


def unread(unreadable: Unreadable, rows: int) -> list[str]:
    """The note on lines that could not be read, where there are any; the log shows all examples."""
    if not unreadable:
        return []
    for example in unreadable.examples:
        print(f"not read: {example}")
    return [f"{unreadable.count} lines could not be read, beside {rows} rows; {unreadable.examples[0]}."]

"""What this runtime does not offer yet, refused by name when it is asked for.

Each operation lists the members it honours or only records; a member outside that list, if it says anything, is
refused, because ignoring it would be pretending.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .errors import ValidationException

SILENT: tuple[object, ...] = (None, False, [], {}, "None", "")


def unless_offered(operation: str, params: Mapping[str, Any], offered: Iterable[str], path: str = "") -> None:
    """Refuse members of `params` that are not offered.

    Raises:
        ValidationException: names the member, and says that AWS takes it.
    """
    for name in sorted(set(params) - set(offered)):
        if params[name] not in SILENT:
            raise ValidationException(
                f"{operation}: {path}{name} is not offered by the Millrace runtime yet (AWS takes it); leave it out "
                "to run on this machine"
            )


def unless_value(operation: str, path: str, value: object, allowed: Iterable[object]) -> None:
    """Refuse a value outside `allowed`.

    Raises:
        ValidationException: names the member, its value and what is offered.
    """
    allowed = list(allowed)
    if value is not None and value not in allowed:
        raise ValidationException(
            f"{operation}: {path}={value!r} is not offered by the Millrace runtime yet (AWS takes it); offered: {allowed}"
        )

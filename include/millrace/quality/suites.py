"""Load an expectation suite: a function in the job's source archive that returns a Great Expectations suite.

Only dotted Python identifiers are accepted, so that a reference is a name on `sys.path` and never a path or an
expression. The module runs with the job's rights: it is code of the job's own archive, not input.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from typing import Any

from great_expectations.core import ExpectationSuite

from millrace.quality.errors import SuiteError

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def load_suite(reference: str, settings: Sequence[str] = ()) -> ExpectationSuite:
    """The suite that `module:function` returns.

    Args:
        reference: for example `pipelines.digits.expectations:raw_digits`.
        settings: keyword parameters as `name=value`, the value in JSON; what is not JSON is taken as a string.

    Raises:
        SuiteError: the reference or a setting is malformed, not found, or the function does not return a suite with at
            least one expectation.
    """
    if not REFERENCE.fullmatch(reference):
        raise SuiteError(f"the suite {reference!r} is not of the form package.module:function")
    module_name, function_name = reference.split(":")
    parameters = dict(_setting(text) for text in settings)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except ModuleNotFoundError as error:
        raise SuiteError(
            f"the suite {reference!r} cannot be imported: {error}; is it in the source archive?"
        ) from error
    except AttributeError as error:
        raise SuiteError(f"the module {module_name!r} has no function {function_name!r}") from error
    try:
        suite = function(**parameters)
    except TypeError as error:
        raise SuiteError(f"{reference}({', '.join(parameters)}) failed: {error}; check the --set names") from error
    if not isinstance(suite, ExpectationSuite):
        raise SuiteError(f"{reference} returned a {type(suite).__name__}; it must return an ExpectationSuite")
    if not suite.expectations:
        raise SuiteError(f"the suite {suite.name!r} of {reference} has no expectations; an empty gate proves nothing")
    return suite


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise SuiteError(f"--set {text!r} is not of the form name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value

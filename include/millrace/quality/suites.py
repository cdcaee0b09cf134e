"""Load an expectation suite: a JSON file beside the job's code, or a function of it.

A reference names something in the job's source archive and can name nothing else: `package.module:function`, made of
identifiers, or `package/folder/name.json`, a resource of a package (no absolute path, no `..`). A function may return
the JSON document as a dict, and then nothing of Great Expectations is imported, or an ExpectationSuite. The module runs
with the job's rights: it is code of the job's own archive, not input.
"""

from __future__ import annotations

import importlib
import importlib.resources
import json
import os
import re
from collections.abc import Sequence
from typing import Any

from millrace.quality.errors import SuiteError
from millrace.quality.expectation import Suite, suite_of

FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
RESOURCE = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*/[A-Za-z0-9_][\w.-]*\.json", re.ASCII)
MAX_BYTES = 16 * 1024 * 1024


def load_suite(reference: str, settings: Sequence[str] = ()) -> Suite:
    """The suite that a reference names.

    Args:
        reference: `pipelines.digits.expectations:raw_digits` or `pipelines/digits/raw.json`.
        settings: `name=value`, the value in JSON (what is not JSON is taken as a string): keyword arguments of the
            function, or the values of a JSON suite's `{"$PARAMETER": name}`.

    Raises:
        SuiteError: the reference or a setting is malformed, nothing is there, or it is not a suite with at least one
            expectation.
    """
    parameters = dict(_setting(text) for text in settings)
    if RESOURCE.fullmatch(reference):
        return suite_of(_resource(reference), source=reference, parameters=parameters)
    if FUNCTION.fullmatch(reference):
        return suite_of(_returned(reference, parameters), source=reference)
    raise SuiteError(f"the suite {reference!r} is not of the form package.module:function or package/name.json")


def _resource(reference: str) -> Any:
    folder, _, name = reference.rpartition("/")
    try:
        file = importlib.resources.files(folder.replace("/", ".")).joinpath(name)
        data = file.read_bytes()
    except (ModuleNotFoundError, OSError, TypeError) as error:
        raise SuiteError(f"the suite {reference!r} cannot be read: {error}; is it in the source archive?") from error
    if len(data) > MAX_BYTES:
        raise SuiteError(f"the suite {reference!r} is {len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SuiteError(f"the suite {reference!r} is not JSON: {error}") from error


def _returned(reference: str, parameters: dict[str, Any]) -> Any:
    os.environ.setdefault(
        "GX_ANALYTICS_ENABLED", "false"
    )  # the module may import Great Expectations, which reads it once
    module_name, function_name = reference.split(":")
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
    if isinstance(suite, dict):
        return suite
    to_json = getattr(suite, "to_json_dict", None)
    if to_json is None or not hasattr(suite, "expectations"):
        raise SuiteError(
            f"{reference} returned a {type(suite).__name__}; it must return a dict of a suite's form or an "
            "ExpectationSuite"
        )
    return to_json()


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise SuiteError(f"--set {text!r} is not of the form name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value

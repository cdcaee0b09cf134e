"""The example in every public operator's docstring, run as a DAG author would: pasted into a DAG."""

from __future__ import annotations

import inspect
import re
import textwrap
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, BaseOperator, chain
from airflow.serialization.serialized_objects import DagSerialization

import operators
from operators.processing import ProcessingOperator
from pipelines.digits.settings import settings

EXAMPLE = re.compile(r"^Example::\n\n((?:    .*\n?|\n)+)", re.MULTILINE)
BASES = {"JobOperator", "EndpointOperator"}
EARLIER = ("prepare", "train", "evaluate", "challenge", "register", "deploy", "batch", "score")
"""Tasks that examples speak of."""


def public() -> dict[str, type[BaseOperator]]:
    """Every operator that a DAG author may name."""
    modules = [import_module(f"operators.{path.stem}") for path in sorted(Path(operators.__path__[0]).glob("*.py"))]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, BaseOperator) and value.__module__ == module.__name__
    }


OPERATORS = {name: operator for name, operator in public().items() if name not in BASES}


def example(operator: type[BaseOperator]) -> str:
    found = EXAMPLE.findall(inspect.cleandoc(operator.__doc__ or ""))
    assert len(found) == 1, f"{operator.__name__} needs one Example::"
    return textwrap.dedent(found[0])


@pytest.mark.parametrize("name", OPERATORS)
def test_example_makes_its_task_in_a_dag(name: str) -> None:
    code = example(OPERATORS[name])
    with DAG("example", schedule=None, params={"source_uri": "", "approval_required": True, "stop": False}) as dag:
        names: dict[str, Any] = {
            earlier: ProcessingOperator(
                task_id=earlier, module="timeit", packages=settings.packages, instance_type="ml.m5.large"
            )
            for earlier in EARLIER
            if not re.search(rf"^{earlier} = ", code, re.MULTILINE)
        }
        exec(  # the very text that the docstring shows
            code,
            OPERATORS | names | {"settings": settings, "DRIFT": Asset("drift"), "chain": chain, "timedelta": timedelta},
        )
    (made,) = [task for task in dag.tasks if task.task_id not in names]
    assert type(made) is OPERATORS[name]
    assert f'task_id="{made.task_id}"' in code
    DagSerialization.to_dict(dag)  # as the DAG processor does


@pytest.mark.parametrize("name", OPERATORS)
def test_every_argument_that_is_described_exists(name: str) -> None:
    doc = inspect.cleandoc(OPERATORS[name].__doc__ or "")
    section = re.search(r"^Args:\n((?:    .*\n?)+)", doc, re.MULTILINE)
    assert section, f"{name} describes no arguments"
    described = {
        argument.strip()
        for line in textwrap.dedent(section[1]).splitlines()
        if (entry := re.match(r"([a-z_, ]+): ", line))
        for argument in entry[1].split(",")
    }
    taken = {
        argument
        for base in OPERATORS[name].__mro__
        if "__init__" in vars(base)
        for argument in inspect.signature(base.__init__).parameters  # type: ignore[misc]
    }
    assert described - taken == set()

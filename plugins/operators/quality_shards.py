"""QualityShardsOperator: a dataset that one machine cannot read, looked at by several; a QualityGateOperator judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from operators.processing import ProcessingOperator
from operators.quality import suite_arguments


class QualityShardsOperator(ProcessingOperator):
    """Let each of several instances hold its share of the objects against a suite, and write down what it has seen.

    It judges nothing: `QualityGateOperator(parts=shards.output["parts"])` with the same suite and settings merges what
    the instances have seen into one verdict. Uniqueness, and what Great Expectations itself has to evaluate, cannot be
    merged and fails there, with a finding that says so. With `quarantine` each instance puts its bad rows aside: the rows
    that go on are in `.output["accepted"]`, the others in `.output["quarantine"]`.

    Args:
        suite, settings, columns, quarantine: as QualityGateOperator's.
        data: S3 URI of the files, at least one for each instance.
        instance_count: among how many instances the objects are shared out.

    Example::

        shards = QualityShardsOperator(
            task_id="shards",
            suite="pipelines.digits.expectations:raw_digits",
            data=prepare.output["raw"],
            packages=("pipelines.digits",),
            instance_type="ml.m5.large",
            instance_count=2,
        )
    """

    template_fields: Sequence[str] = (*ProcessingOperator.template_fields, "data")
    ui_color = "#fff4d6"

    def __init__(
        self,
        *,
        suite: str,
        data: Any,
        packages: Sequence[str],
        settings: Mapping[str, Any] | None = None,
        columns: Sequence[str] = (),
        quarantine: bool = False,
        **kwargs: Any,
    ) -> None:
        self.data = data  # a template field of its own, so that a mapped task comes after what makes it
        arguments = ["check", "--partial", "--data", "input/data", "--output", "output/parts", "--gate", "shards"]
        super().__init__(
            module="millrace.quality",
            packages=(*packages, "millrace.quality"),
            arguments=[
                *arguments,
                *suite_arguments(suite, settings or {}, columns),
                *(["--quarantine"] if quarantine else []),
            ],
            inputs={"data": data},
            required_inputs=("data",),
            sharded=("data",),
            outputs=("parts", "accepted", "quarantine") if quarantine else ("parts",),
            **kwargs,
        )

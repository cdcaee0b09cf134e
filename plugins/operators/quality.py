"""QualityGateOperator: an expectation suite between two steps; what fails it goes no further, or another way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.bases.branch import BranchMixIn

from millrace.retraining.record import Record
from millrace.sagemaker.deployment import Deployment
from millrace.verdict import Verdict
from operators.gates import refuse_unless_passed
from operators.history import RUN_TIME, history_of, publish_page, window_end, written_by
from operators.links import DataDocsLink, HistoryLink, JobLink, object_page
from operators.processing import ProcessingOperator, split_uri

if TYPE_CHECKING:
    from airflow.sdk import Context

MAX_ARGUMENT = 256
OnFail = Literal["fail", "skip_downstream", "branch"]
ON_FAIL = ("fail", "skip_downstream", "branch")


class QualityGateOperator(ProcessingOperator, BranchMixIn):
    """Hold data against an expectation suite, in a processing job, and let it go on only when it passes.

    A gate that did not pass is not retried: the same data would fail again. `.output["quality"]` holds verdict.json,
    the full validation result and the Data Docs, whose first page is `.output["data_docs"]`. With `quarantine`
    the rows that go on are in `.output["accepted"]` and those put aside in `.output["quarantine"]`, both Parquet.

    Args:
        suite: `package/name.json`, or `module:function` that returns the suite.
        data: S3 URI of the Parquet, CSV or JSON Lines files to look at.
        parts: in place of `data`: what the instances of a QualityShardsOperator with the same suite and settings have seen.
        gate: what the gate is called in logs and reports.
        settings: parameters of the suite; values may be templates, and are read as JSON.
        columns: column names of CSV files that have no header.
        on_fail: what becomes of data that does not pass: `fail` the task; `skip_downstream`, and what follows goes by its
            trigger rule; or `branch`: follow `on_fail_task_ids` alone, which are skipped when it passes. The task itself
            then succeeds, with `passed` in its result.
        on_fail_task_ids: directly downstream tasks (or task groups) for data that does not pass.
        quarantine: put rows that break a critical row-level expectation aside, and judge the others.
        max_quarantined: the share of the rows, 0 to 1, up to which that lets the gate pass.
        gx_docs: have Great Expectations write its own page, too; it takes seconds.
        model: the registered model whose history records what the gate found.
        window: the time that the data is of, for the history; by default the run's.

    Example::

        gate = QualityGateOperator(
            task_id="gate",
            suite="pipelines.digits.expectations:raw_digits",
            data=prepare.output["raw"],
            gate="raw data",
            packages=("pipelines.digits",),
            instance_type="ml.m5.large",
        )
    """

    template_fields: Sequence[str] = (*ProcessingOperator.template_fields, "data", "parts", "window")
    operator_extra_links = (JobLink(), DataDocsLink(), HistoryLink())
    ui_color = "#fff4d6"
    inherits_from_skipmixin = True

    def __init__(
        self,
        *,
        suite: str,
        gate: str,
        packages: Sequence[str],
        data: Any = None,
        parts: Any = None,
        settings: Mapping[str, Any] | None = None,
        columns: Sequence[str] = (),
        on_fail: OnFail = "fail",
        on_fail_task_ids: str | Sequence[str] = (),
        quarantine: bool = False,
        max_quarantined: float = 0.05,
        gx_docs: bool = False,
        model: str | None = None,
        window: Any = RUN_TIME,
        **kwargs: Any,
    ) -> None:
        if on_fail not in ON_FAIL:
            raise ValueError(f"on_fail is {on_fail!r}; it must be one of {', '.join(ON_FAIL)}")
        followed = (on_fail_task_ids,) if isinstance(on_fail_task_ids, str) else tuple(on_fail_task_ids)
        if bool(followed) != (on_fail == "branch"):
            raise ValueError(
                f"on_fail is {on_fail!r} and on_fail_task_ids is {followed}; a branch, and only a branch, has some"
            )
        if not 0 <= max_quarantined <= 1:
            raise ValueError(f"max_quarantined is {max_quarantined}; it must be a share from 0 to 1")
        if (data is None) == (parts is None):
            raise ValueError("give either data, or the parts of it that a QualityShardsOperator has looked at")
        if parts is not None and (quarantine or columns):
            raise ValueError("quarantine and columns belong to the QualityShardsOperator that has read the data")
        self.data = data  # a template field of its own, so that a mapped gate comes after what makes it
        self.parts = parts
        self.model = model
        self.window = window
        self.on_fail: OnFail = on_fail
        self.on_fail_task_ids = followed
        name, looked_at = ("data", data) if parts is None else ("parts", parts)
        arguments = ["check" if parts is None else "merge", f"--{name}", f"input/{name}", "--gate", gate]
        arguments += ["--output", "output/quality", *suite_arguments(suite, settings or {}, columns)]
        if quarantine:
            arguments += ["--quarantine"]
        if quarantine or parts is not None:
            arguments += ["--max-quarantined", str(max_quarantined)]
        if gx_docs:
            arguments += ["--data-docs", "gx"]
        super().__init__(
            module="millrace.quality",
            packages=(*packages, "millrace.quality"),
            arguments=arguments,
            inputs={name: looked_at},
            required_inputs=(name,),
            outputs=("quality", "accepted", "quarantine") if quarantine else ("quality",),
            verdict="quality",
            **kwargs,
        )

    def judge(self, verdict: Verdict, uri: str, context: Context) -> dict[str, Any]:
        bucket, prefix = split_uri(uri)
        docs = f"s3://{bucket}/{prefix}/{verdict.artifacts.get('data_docs', '')}"
        self.publish(context, data_docs=docs, **{DataDocsLink.xcom_key_name: object_page(self._s3, docs)})
        if self.model is not None:
            self._record(self.model, verdict, docs, context)
        if self.on_fail == "fail":
            refuse_unless_passed(verdict, docs)
        findings = "\n".join(f"- {finding.subject}: {finding.message}" for finding in verdict.findings[:20])
        if findings:
            self.log.warning("the gate %r: %s\n%s\nThe report: %s", verdict.gate, verdict.summary, findings, docs)
        return {"data_docs": docs}

    def prepare(self, deployment: Deployment) -> None:
        if self.model is not None:
            window_end(self.window)  # before the job is paid for: its result must have a time
        super().prepare(deployment)

    def _record(self, model: str, verdict: Verdict, docs: str, context: Context) -> None:
        history, job_name = history_of(model, self._s3), str(self.job[self.kind.name_field])
        record = Record(
            kind="gate", at=window_end(self.window), subject=str(self.window),
            outcome="passed" if verdict.passed else "failed", summary=verdict.summary, facts=verdict.metrics,
            links={"data_docs": docs}, by=written_by(context, job_name),
        )  # fmt: skip
        history.add(record, job_name)
        publish_page(self, history, context)

    def conclude(self, result: dict[str, Any], context: Context) -> dict[str, Any]:
        """Skip what the verdict does not lead to.

        Airflow skips by an exception, which takes the place of a returned result: it is pushed before.
        """
        after = set(self.downstream_task_ids)
        if self.on_fail == "fail" or not after or (result["passed"] and self.on_fail == "skip_downstream"):
            return result
        context["ti"].xcom_push(key="return_value", value=result)
        if self.on_fail == "skip_downstream":
            self.do_branch(context, None)
        else:
            failing = set(self._expand_task_group_roots(context["ti"], self.on_fail_task_ids))
            self.do_branch(context, sorted(after - failing if result["passed"] else failing))
        return result


def suite_arguments(suite: str, settings: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """Which suite a job of millrace.quality holds the data against, and what their columns are called."""
    arguments = ["--suite", suite]
    for name, value in settings.items():
        arguments += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    for names in _chunks(columns):
        arguments += ["--columns", names]
    return arguments


def _chunks(columns: Sequence[str]) -> list[str]:
    """Column names as comma-separated arguments of at most the 256 characters that SageMaker takes."""
    chunks: list[str] = []
    for column in columns:
        if chunks and len(chunks[-1]) + len(column) + 1 <= MAX_ARGUMENT:
            chunks[-1] += f",{column}"
        else:
            chunks.append(column)
    return chunks

"""The account of a run in S3: what each of its jobs has cost or may cost, and the limit that no job may pass.

One small object for each generation of a task's job, `<deployment>/cost/<dag>/<run>/<task>-<hash>-<generation>.json`. It
is `reserved` at the job's ceiling before the job is submitted, and `final` at its estimate once the job has ended. A
generation that failed was paid too, so it stays; a generation's own retry overwrites its own entry.

The limit holds without a lock because an entry is written first and the others are read after: of two jobs that ask at
the same moment, at least one sees the other. Both may then be refused; never do both pass. What is not a readable entry
stops every job under a limit: an account with a hole is no account.

What it does not do: it stops no job that runs, and it knows nothing but the jobs that were entered: endpoints are not.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from .cost import Estimate, priced, shown
from .kinds import KINDS, JobKind
from .names import TaskIdentity, digest, slug
from .prices import Prices

State = Literal["reserved", "final"]
STATES: tuple[State, ...] = ("reserved", "final")
AMOUNT = re.compile(r"\d{1,12}(\.\d{1,6})?")
MAX_ENTRY_BYTES = 16 * 1024
MAX_ENTRIES = 20_000
"""Of one run."""
MAX_LISTED = 200_000
"""Of one DAG, when its latest run is looked for."""
READERS = 8
"""Entries that are read at once; under the ten connections of a boto3 client."""
NAMED = 5
LARGEST = 10**9


class LedgerError(RuntimeError):
    """The account cannot be trusted: an entry cannot be read, or there are too many."""


class MaxCostError(RuntimeError):
    """A job would pass the run's `max_cost`, or it cannot be told whether it would.

    `may_pass_later` says that only what other jobs have reserved stands in the way: they give back what they do not use.
    """

    def __init__(self, message: str, *, may_pass_later: bool = False) -> None:
        super().__init__(message)
        self.may_pass_later = may_pass_later


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryKey:
    """Whose entry it is: one generation of one task's job."""

    identity: TaskIdentity
    generation: int
    kind: JobKind

    @property
    def job_name(self) -> str:
        return self.identity.job_name(self.generation, self.kind.name_limit)

    @property
    def key(self) -> str:
        who = self.identity
        task_hash = digest(who.dag_id, who.run_id, who.task_id, str(who.map_index))
        folder = run_folder(who.deployment, who.dag_id, who.run_id)
        return f"{folder}{slug(who.task_id)[:60]}-{task_hash}-{self.generation}.json"

    def __str__(self) -> str:
        mapped = f"[{self.identity.map_index}]" if self.identity.map_index >= 0 else ""
        return f"{self.identity.task_id}{mapped} generation {self.generation}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the account."""

    whose: EntryKey
    state: State
    estimate: Estimate

    def to_json(self) -> bytes:
        who, estimate = self.whose.identity, self.estimate
        document = {
            "state": self.state,
            "deployment": who.deployment,
            "dag_id": who.dag_id,
            "run_id": who.run_id,
            "task_id": who.task_id,
            "map_index": who.map_index,
            "generation": self.whose.generation,
            "kind": self.whose.kind.name,
            "job_name": self.whose.job_name,
            "instance_type": estimate.instance_type,
            "instances": estimate.instances,
            "seconds": estimate.seconds,
            "usd": None if estimate.usd is None else f"{estimate.usd:f}",
            "why_unknown": estimate.why_unknown,
            "price_table": estimate.price_table,
        }
        return json.dumps(document, indent=1).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> Entry:
        """An entry as it was written.

        Raises:
            ValueError: it is not one; the message says what is wrong with it.
        """
        try:
            document = json.loads(raw)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(document, dict):
            raise ValueError("it is not an object")
        state, kind = document.get("state"), KINDS.get(_text(document, "kind"))
        if state not in STATES:
            raise ValueError(f"state is {_short(state)}; it must be one of {', '.join(STATES)}")
        if kind is None:
            raise ValueError(f"kind is {_short(document['kind'])}; it must be one of {', '.join(KINDS)}")
        identity = TaskIdentity(
            deployment=_text(document, "deployment"),
            dag_id=_text(document, "dag_id"),
            run_id=_text(document, "run_id"),
            task_id=_text(document, "task_id"),
            map_index=_whole(document, "map_index", -1),
        )
        estimate = Estimate(
            seconds=_whole(document, "seconds", 0),
            instances=_whole(document, "instances", 0),
            instance_type=_text(document, "instance_type"),
            usd=_amount(document.get("usd")),
            why_unknown=_text(document, "why_unknown"),
            price_table=_text(document, "price_table"),
        )
        return cls(
            EntryKey(identity=identity, generation=_whole(document, "generation", 0), kind=kind), state, estimate
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCost:
    """The account of one run, in the order in which its entries were last written."""

    entries: Sequence[Entry]
    unreadable: Sequence[str]
    """What is wrong with each object that is no entry."""

    def sum_of(self, state: State) -> Decimal:
        """The known amounts in a state: what was spent (`final`), or what may yet be (`reserved`)."""
        return sum((entry.estimate.usd or Decimal(0) for entry in self.entries if entry.state == state), Decimal(0))

    @property
    def unknown(self) -> Sequence[Entry]:
        """Entries without an amount."""
        return [entry for entry in self.entries if entry.estimate.usd is None]


def run_folder(deployment: str, dag_id: str, run_id: str) -> str:
    """The prefix of a run's entries: the run is called as where its jobs write."""
    any_task = TaskIdentity(deployment=deployment, dag_id=dag_id, run_id=run_id, task_id="any")
    _, dag, run, *_ = any_task.prefix(0).split("/")
    return f"{deployment}/cost/{dag}/{run}/"


def dollars(value: Decimal | float | str) -> Decimal:
    """A limit as an exact amount.

    Raises:
        ValueError: it is not a number above 0.
    """
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or not 0 < amount <= LARGEST:
        raise ValueError(f"max_cost is {value!r}; it must be a number of US dollars above 0, at most {LARGEST}")
    return amount


def reserve(
    s3: Any,
    bucket: str,
    whose: EntryKey,
    ceiling: Estimate,
    max_cost: Decimal | float | str | None,
    prices: Prices | None = None,
) -> None:
    """Enter what a job may cost, immediately before it is submitted; with a limit, only if the run stays under it.

    Without a limit nothing is read. An entry that was written while its type had no price is priced now, by `prices` or
    those of the environment.

    Raises:
        MaxCostError: the limit would be passed, or an amount that it needs is not known; nothing stays reserved.
        LedgerError: the account cannot be trusted; nothing stays reserved.
        ValueError: `max_cost` is no amount.
    """
    limit = None if max_cost is None else dollars(max_cost)
    if limit is not None:
        _refuse_unknown(whose, ceiling, limit)
    _write(s3, bucket, Entry(whose, "reserved", ceiling))
    if limit is None:
        return
    try:
        _hold_against(limit, whose, ceiling, read_run(s3, bucket, *_run_of(whose)), prices)
    except BaseException:
        # Whatever stopped it: the job will not be submitted. Where even this fails the entry stays, which errs on the
        # side of the limit.
        with contextlib.suppress(Exception):
            withdraw(s3, bucket, whose)
        raise


def settle(s3: Any, bucket: str, whose: EntryKey, estimate: Estimate) -> None:
    """Enter what a job has cost, once it has ended: well, badly, or by being stopped."""
    _write(s3, bucket, Entry(whose, "final", estimate))


def withdraw(s3: Any, bucket: str, whose: EntryKey) -> None:
    """Take back the reservation of a job that was not submitted after all. Never for a job that may exist."""
    s3.delete_object(Bucket=bucket, Key=whose.key)


def read_run(s3: Any, bucket: str, deployment: str, dag_id: str, run_id: str) -> RunCost:
    """Everything that was entered for a run.

    Raises:
        LedgerError: there are more entries than a run can have.
    """
    listed = list(_listed(s3, bucket, run_folder(deployment, dag_id, run_id), MAX_ENTRIES))
    listed.sort(key=lambda found: (found["LastModified"], found["Key"]))
    with ThreadPoolExecutor(READERS) as readers:
        read = list(readers.map(lambda found: _read(s3, bucket, found), listed))
    return RunCost(
        entries=[found for found in read if isinstance(found, Entry)],
        unreadable=[found for found in read if isinstance(found, str)],
    )


def run_total(s3: Any, bucket: str, deployment: str, dag_id: str, run_id: str) -> Decimal:
    """What a run has cost so far, as far as it is known: what is only reserved does not count.

    Raises:
        LedgerError: an entry cannot be read, or there are too many.
    """
    found = read_run(s3, bucket, deployment, dag_id, run_id)
    _refuse_unreadable(found.unreadable)
    return found.sum_of("final")


def latest_run(s3: Any, bucket: str, deployment: str, dag_id: str) -> str | None:
    """The id of the DAG's run that was entered into last, or None when there is none.

    Raises:
        LedgerError: there are too many entries to look through, or the last of a run's cannot be read.
    """
    folder = run_folder(deployment, dag_id, "any").rstrip("/").rpartition("/")[0] + "/"
    newest: dict[str, dict[str, Any]] = {}
    for found in _listed(s3, bucket, folder, MAX_LISTED):
        run = found["Key"].removeprefix(folder).partition("/")[0]
        if run not in newest or found["LastModified"] >= newest[run]["LastModified"]:
            newest[run] = found
    for found in sorted(newest.values(), key=lambda found: found["LastModified"], reverse=True):
        entry = _read(s3, bucket, found)
        if isinstance(entry, str):
            raise LedgerError(f"which run of {dag_id} is the latest cannot be told, so name the run: {entry}")
        if entry is not None and entry.whose.identity.dag_id == dag_id:  # two ids may share a folder: `a.b` and `a-b`
            return entry.whose.identity.run_id
    return None


def _run_of(whose: EntryKey) -> tuple[str, str, str]:
    return whose.identity.deployment, whose.identity.dag_id, whose.identity.run_id


def _refuse_unknown(whose: EntryKey, ceiling: Estimate, limit: Decimal) -> None:
    if ceiling.usd is None:
        raise MaxCostError(
            f"{whose} cannot be held against max_cost ({shown(limit)}), so it is not submitted: {ceiling.why_unknown}"
        )


def _refuse_unreadable(unreadable: Sequence[str]) -> None:
    if unreadable:
        raise LedgerError(
            f"the run's cost cannot be told, because {len(unreadable)} of its entries cannot be read: "
            f"{_some(unreadable, '; ')}. See what the job cost, write the entry anew or delete it"
        )


def _hold_against(limit: Decimal, whose: EntryKey, ceiling: Estimate, found: RunCost, prices: Prices | None) -> None:
    _refuse_unreadable(found.unreadable)
    others = [entry for entry in found.entries if entry.whose.key != whose.key]
    if any(entry.estimate.usd is None for entry in others):
        prices = prices or Prices.from_environment()
        others = [_priced_now(entry, prices) for entry in others]
    unknown = [f"{entry.whose} ({entry.estimate.why_unknown})" for entry in others if entry.estimate.usd is None]
    if unknown:
        raise MaxCostError(
            f"{whose} cannot be held against max_cost ({shown(limit)}), so it is not submitted: the run has jobs whose "
            f"cost is not known: {_some(unknown, ', ')}"
        )
    account = RunCost(entries=others, unreadable=())
    spent, reserved, own = account.sum_of("final"), account.sum_of("reserved"), ceiling.usd or Decimal(0)
    if spent + reserved + own <= limit:
        return
    waiting = reserved > 0 and spent + own <= limit
    raise MaxCostError(
        f"{whose} would pass the run's max_cost of {shown(limit)}, so it is not submitted: {shown(spent)} are spent, "
        f"{shown(reserved)} are reserved by other jobs, and this one may cost up to {shown(own)} "
        f"({ceiling.instance_type} x {ceiling.instances} for {ceiling.seconds} s at most). {_advice(waiting, others)}",
        may_pass_later=waiting,
    )


def _advice(waiting: bool, others: Sequence[Entry]) -> str:
    fix = "raise max_cost, or lower this task's maximum runtime or its instances"
    if not waiting:
        return fix.capitalize()
    holders = _some([str(entry.whose) for entry in others if entry.state == "reserved"], ", ")
    return (
        f"It would fit but for what is reserved by {holders}: a job gives back what it has not used when it ends, so a "
        f"retry may pass. Of jobs that start at the same moment each may be refused because of the other. Else {fix}"
    )


def _priced_now(entry: Entry, prices: Prices) -> Entry:
    """An entry without an amount, with the one that today's prices give it."""
    known = entry.estimate
    if known.usd is not None or not known.seconds:
        return entry
    now = priced(entry.whose.kind.name, known.instance_type, known.instances, known.seconds, prices)
    return entry if now.usd is None or not known.instances else Entry(entry.whose, entry.state, now)


def _write(s3: Any, bucket: str, entry: Entry) -> None:
    s3.put_object(Bucket=bucket, Key=entry.whose.key, Body=entry.to_json(), ContentType="application/json")


def _listed(s3: Any, bucket: str, prefix: str, most: int) -> Iterator[dict[str, Any]]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for count, found in enumerate(found for page in pages for found in page.get("Contents", ())):
        if count >= most:
            raise LedgerError(f"more than {most} objects lie under s3://{bucket}/{prefix}; these cannot all be entries")
        yield found


def _read(s3: Any, bucket: str, listed: dict[str, Any]) -> Entry | str | None:
    """The entry in an object that was listed, or what is wrong with it; None when it has been withdrawn since."""
    from botocore.exceptions import ClientError

    key = listed["Key"]
    try:
        if listed["Size"] > MAX_ENTRY_BYTES:
            raise ValueError(f"it is {listed['Size']} bytes, and an entry at most {MAX_ENTRY_BYTES}")
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        with contextlib.closing(body):
            entry = Entry.from_json(body.read(MAX_ENTRY_BYTES + 1))
        if entry.whose.key != key:
            raise ValueError("it says that it is the entry of another job")
    except ValueError as error:
        return f"s3://{bucket}/{key.encode('unicode_escape').decode()}: {error}"
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    return entry


def _text(document: dict[str, Any], field: str) -> str:
    value = document.get(field)
    if not isinstance(value, str) or not value.isprintable() or len(value) > 1000:
        raise ValueError(f"{field} is {_short(value)}; it must be a printable text of at most 1000 characters")
    return value


def _whole(document: dict[str, Any], field: str, least: int) -> int:
    value = document.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
        raise ValueError(f"{field} is {_short(value)}; it must be a whole number from {least} to {LARGEST}")
    return value


def _amount(value: Any) -> Decimal | None:
    if value is None:
        return None
    if not isinstance(value, str) or not AMOUNT.fullmatch(value):
        raise ValueError(f'usd is {_short(value)}; it must be null or an amount as text, like "0.057500"')
    return Decimal(value)


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:60]}…"


def _some(texts: Sequence[str], separator: str) -> str:
    more = f"{separator}and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return separator.join(texts[:NAMED]) + more

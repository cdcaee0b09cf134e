"""The fault plan: which calls and jobs the runtime is to spoil, how, and how often, so that bad days can be rehearsed.

The plan is `faults.json` in the data folder, a list of rules. It is read anew when it was replaced, and it is the only
way to a fault: nothing that arrives over the network can bring one about, and without the file none is dealt. The first
rule that matches and is not used up takes a call, and only that one, so a plan reads from top to bottom. A job's fault
is settled when the job is created and lies in its document, so that a restart changes nothing. Every fault dealt is a
line in `faults.jsonl` and in the runtime's log.

What it does not do: it does not know what a fault does (`faults.py`).
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .exchange import Exchange
from .faults import (
    Call,
    CallFault,
    Fault,
    FaultPlanError,
    JobFault,
    check_number,
    check_text,
    fault_of,
    row_of,
    services,
)

log = logging.getLogger(__name__)
PLAN, DEALT = "faults.json", "faults.jsonl"
NAME_CHARACTERS = 1088
"""As long as a bucket and a key can be, so that a glob may be about a key's end."""
FEW = 8
VERB = re.compile("^[A-Z][a-z]+")
ENDPOINT_LOGS = "/aws/sagemaker/Endpoints/"
CarryOut = Callable[[], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault, whom it befalls, and how often: `times` times, or for `seconds` from `since` on.

    Raises:
        FaultPlanError: no call could ever match, or it is not said how often.
    """

    fault: Fault
    _: KW_ONLY
    operation: str = "*"
    """A glob over operations; over one service's when it begins with the service, such as `s3:*`."""
    name: str = "*"
    """A glob over the name of the job, endpoint, model or configuration in the request; for S3 over `bucket/key`."""
    times: int | None = None
    seconds: float | None = None
    since: float = field(default_factory=time.time)
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    """What counts as one rule: its uses are counted by it, over restarts and changes of the plan."""

    def __post_init__(self) -> None:
        for what in ("operation", "name", "id"):
            check_text(what, getattr(self, what))
        if (self.times is None) == (self.seconds is None):
            raise FaultPlanError(
                f"a rule needs either times or seconds, and this one has times={self.times} and seconds={self.seconds}"
            )
        if self.times is not None and (type(self.times) is not int or self.times < 1):
            raise FaultPlanError(f"times is {self.times!r}; it must be a whole number of 1 or more")
        if self.seconds is not None:
            check_number("seconds", self.seconds)
        check_number("since", self.since)
        befallen = self.fault.operations()
        if not any(self._names(operation) for operation in befallen):
            raise FaultPlanError(
                f"operation is {self.operation!r}, which is none that {self.fault.word} can befall: "
                + (f"that is {', '.join(befallen)}" if len(befallen) <= FEW else "such as CreateTrainingJob, PutObject")
                + ", or a glob over them, such as 'Create*Job' or 's3:*'"
            )

    def matches(self, operation: str, name: str) -> bool:
        return (
            self._names(operation)
            and operation in self.fault.operations()
            and (self.name == "*" or fnmatchcase(name, self.name))
        )

    def _names(self, operation: str) -> bool:
        """Whether the glob over operations is about this one."""
        named = f"{services().get(operation)}:{operation}" if ":" in self.operation else operation
        return fnmatchcase(named, self.operation)

    def left(self, used: int) -> float:
        """How many times, or for how many seconds, it still deals; 0 when it is used up."""
        if self.times is not None:
            return max(0, self.times - used)
        return max(0.0, self.since + (self.seconds or 0) - time.time())

    def row(self) -> dict[str, Any]:
        """The rule as it stands in the plan."""
        own = {name: getattr(self, name) for name in ("operation", "name", "times", "seconds", "since", "id")}
        given = {name: value for name, value in own.items() if value is not None}
        return {"fault": self.fault.word} | given | row_of(self.fault)


@dataclass(frozen=True, slots=True)
class Dealt:
    """One line of `faults.jsonl`: that a fault was dealt, by which rule, and to whom."""

    time: float
    rule: str
    fault: str
    operation: str
    name: str


def rule_of(row: Mapping[str, Any]) -> Rule:
    """One rule as a plan has it: the members of `Rule`, with the fault's word and its parameters beside them.

    Raises:
        FaultPlanError: there is no such fault or parameter, or the rule cannot be used.
    """
    own = {member.name for member in fields(Rule)} - {"fault"}
    fault = fault_of({name: value for name, value in row.items() if name not in own})
    return Rule(fault, **{name: value for name, value in row.items() if name in own})


def parse(text: str, since: float) -> tuple[Rule, ...]:
    """The rules of a plan. What a rule written by hand leaves out, its id and its time, comes from `since`.

    Raises:
        FaultPlanError: it is no plan, or one of its rules cannot be used.
    """
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FaultPlanError(f"the plan is not JSON: {error}") from error
    if not isinstance(rows, list):
        raise FaultPlanError(f"the plan is a JSON {type(rows).__name__}; it must be a list of rules")
    rules: list[Rule] = []
    for number, row in enumerate(rows, 1):
        try:
            if not isinstance(row, dict):
                raise FaultPlanError(f"it is a JSON {type(row).__name__}; it must be an object")
            rules.append(rule_of({"since": since, "id": f"{since:.3f}-{number}", **row}))
        except FaultPlanError as error:
            raise FaultPlanError(f"rule {number} of the plan: {error}") from error
    twice = [identity for identity, count in Counter(rule.id for rule in rules).items() if count > 1]
    if twice:
        raise FaultPlanError(f"several rules of the plan have the id {twice[0]!r}; leave ids out, or make them differ")
    return tuple(rules)


def read(data_dir: Path) -> tuple[Rule, ...]:
    """The rules in force in a data folder; none when there is no plan.

    Raises:
        FaultPlanError: the plan there cannot be used.
    """
    path = data_dir / PLAN
    try:
        return parse(path.read_text(), path.stat().st_mtime)
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError as error:
        raise FaultPlanError(f"the plan is not text: {error}") from error


def write(data_dir: Path, rules: Iterable[Rule]) -> None:
    """Put a plan in force, whole, in the place of the one before. A running runtime heeds it from the next call on."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = data_dir / f"{PLAN}.{uuid.uuid4().hex}"
    temporary.write_text(json.dumps([rule.row() for rule in rules], indent=2) + "\n")
    temporary.rename(data_dir / PLAN)


def clear(data_dir: Path) -> None:
    """End every fault that is not dealt yet. What was settled for a job stays settled."""
    (data_dir / PLAN).unlink(missing_ok=True)


def dealt(data_dir: Path) -> list[Dealt]:
    """Every fault that was ever dealt in a data folder, oldest first."""
    path = data_dir / DEALT
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return [found for line in lines if (found := _dealt(line)) is not None]


Family = TypeVar("Family", CallFault, JobFault)


class FaultPlan:
    """The plan as the runtime heeds it. All methods may be called from any thread."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = str(data_dir / PLAN)
        self._lock = threading.Lock()
        self._identity: tuple[int, int, int] | None = None
        self._rules: tuple[Rule, ...] = ()
        self._used: Counter[str] | None = None

    async def around(self, operation: str, body: bytes, carry_out: CarryOut) -> Response:
        """Carry out a call of a service that speaks JSON, spoilt if the plan says so.

        Raises:
            AwsError: the fault is a refusal.
        """
        fault = self._take(CallFault, operation, lambda: name_in(operation, body))  # type: ignore[type-abstract]
        return await carry_out() if fault is None else Spoilt(fault, Call(operation, body), carry_out)

    def spoil(self, operation: str, name: str, answer: Exchange) -> Exchange:
        """How a call of S3 is to be answered, `answer` being how it is without a fault. `name` is `bucket/key`.

        Raises:
            S3Error: the fault is a refusal.
        """
        fault = self._take(CallFault, operation, lambda: name)  # type: ignore[type-abstract]
        return answer if fault is None else fault.spoil(Call(operation), answer)

    def settle(self, operation: str, name: str) -> dict[str, Any] | None:
        """What is to befall a job that is being created, for its document; see `faults.of_job`."""
        fault = self._take(JobFault, operation, lambda: name)
        return None if fault is None else row_of(fault)

    def _take(self, family: type[Family], operation: str, name: Callable[[], str]) -> Family | None:
        """The first fault of a family that the plan has for this call, counted and written down as dealt."""
        with self._lock:
            self._reload()
            if not self._rules:
                return None
            if self._used is None:
                self._used = Counter(line.rule for line in dealt(self._data_dir))
            called = name()[:NAME_CHARACTERS]
            for rule in self._rules:
                fault = rule.fault
                if isinstance(fault, family) and rule.matches(operation, called) and rule.left(self._used[rule.id]):
                    self._used[rule.id] += 1
                    return fault if self._note(Dealt(time.time(), rule.id, fault.word, operation, called)) else None
        return None

    def _reload(self) -> None:
        """One stat a call; a plan that was just written holds for the very next call, so it is not saved either."""
        try:
            status = os.stat(self._path)  # noqa: PTH116 - on the path of every call
        except FileNotFoundError:
            self._identity, self._rules = None, ()
            return
        identity = (status.st_ino, status.st_mtime_ns, status.st_size)
        if identity == self._identity:
            return
        self._identity = identity
        try:
            self._rules = read(self._data_dir)
            log.warning("fault plan: %d rules are in force", len(self._rules))
        except (FaultPlanError, OSError) as error:
            log.error("fault plan: %s; the %d rules of the last good plan stay in force", error, len(self._rules))

    def _note(self, line: Dealt) -> bool:
        """Write it down. A fault that cannot be written down is not dealt: whoever rehearses must be able to see it."""
        try:
            with (self._data_dir / DEALT).open("a") as stream:
                stream.write(json.dumps(asdict(line)) + "\n")
        except OSError:
            log.exception("fault %s for %s %r is not dealt: it cannot be noted", line.fault, line.operation, line.name)
            return False
        log.warning("fault %s dealt to %s %r by rule %s", line.fault, line.operation, line.name, line.rule)
        return True


class Spoilt(Response):
    """An answer that a fault has befallen. The call is carried out when the answer is due to be sent, if at all."""

    def __init__(self, fault: CallFault, call: Call, carry_out: CarryOut) -> None:
        super().__init__()
        self._carry_out = carry_out
        self._exchange = fault.spoil(call, self._answer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        await self._exchange(receive, send)

    async def _answer(self, receive: Receive, send: Send) -> None:
        response = await self._carry_out()
        await response(self._scope, receive, send)


def name_in(operation: str, body: bytes) -> str:
    """The name that a request is about: a job's, an endpoint's, a model's; empty when it is about none or many."""
    try:
        params = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return ""
    if not isinstance(params, dict):
        return ""

    def text(*members: str) -> str:
        return next((value for member in members if isinstance(value := params.get(member), str)), "")

    noun = VERB.sub("", operation)
    group = text("logGroupName")
    if group.startswith(ENDPOINT_LOGS):
        return group.removeprefix(ENDPOINT_LOGS)
    return (
        text(f"{noun}Name", "EndpointName")
        or text("ResourceArn").rpartition("/")[2]
        or text("logStreamName", "logStreamNamePrefix").partition("/")[0]
    )


def _dealt(line: str) -> Dealt | None:
    """What a line says; None for one that the machine's end cut off."""
    try:
        return Dealt(**json.loads(line))
    except (ValueError, TypeError):
        return None

"""What can go wrong: every fault that the runtime can deal, to a call or to a job, by the word that a fault plan uses.

A fault of a call is a change to how the call is answered; one of a job is asked by the supervisor at each step. A fault
is a frozen value that is checked when it is made. What this file does not do: it does not say whom a fault befalls, nor
how often (`fault_plan.py`), and it knows neither endpoints' invocations nor what moto answers.
"""

from __future__ import annotations

import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import partial
from typing import Any, ClassVar, cast

from . import exchange, protocol
from .errors import AwsError, ResourceLimitExceeded
from .exchange import Exchange
from .instance import Instance
from .s3.errors import S3Error
from .s3.routes import COPIES, ROUTES

CREATES_JOB = ("CreateTrainingJob", "CreateProcessingJob", "CreateTransformJob")
UPLOADS, DOWNLOADS = ("PutObject", "UploadPart"), ("GetObject",)
"""S3's operations that take an object's bytes, and that give them."""
USAGES = {
    "CreateTrainingJob": "training job",
    "CreateProcessingJob": "processing job",
    "CreateTransformJob": "transform job",
    "CreateEndpoint": "endpoint",
}
"""What the quotas of SageMaker call that which an operation takes instances for."""
REASON_CHARACTERS = 1024
MAX_NUMBER = 10**10


class FaultPlanError(ValueError):
    """A fault or a plan cannot be used; the message says which, what is wrong with it, and what would be right."""


class ThrottlingException(AwsError):
    """SageMaker's and CloudWatch Logs' own word for too many calls."""

    code = "ThrottlingException"


class InternalFailure(AwsError):
    """AWS's word for a fault of its own."""

    code = "InternalFailure"
    status = 500


class SlowDown(S3Error):
    """S3's own word for too many calls."""

    code, status = "SlowDown", 503


@functools.cache
def services() -> Mapping[str, str]:
    """The service of every operation that a fault can befall; no two of these services share a name."""
    of_s3 = [route.name for route in (*ROUTES.values(), *COPIES.values())]
    return dict.fromkeys(of_s3, "s3") | {
        name: service for service in ("sagemaker", "logs") for name in protocol.service_model(service).operation_names
    }


def check_number(what: str, value: object, unit: str = "seconds") -> None:
    """
    Raises:
        FaultPlanError: it is no number, below 0, or over 10^10.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_NUMBER:
        raise FaultPlanError(f"{what} is {value!r}; it must be a number of {unit}, from 0 to {MAX_NUMBER}")


def check_text(what: str, value: object) -> None:
    """
    Raises:
        FaultPlanError: it is no text, or an empty one.
    """
    if not isinstance(value, str) or not value:
        raise FaultPlanError(f"{what} is {value!r}; it must be a text, and not an empty one")


@dataclass(frozen=True, kw_only=True)
class Fault(ABC):
    """One way to go wrong. A field is a parameter of the fault in a rule."""

    word: ClassVar[str]
    """What rules call it."""

    @abstractmethod
    def operations(self) -> Sequence[str]:
        """The operations it can befall."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a fault befalls."""

    operation: str
    body: bytes = b""
    """The request's document, for the services that speak JSON."""


@dataclass(frozen=True, kw_only=True)
class CallFault(Fault):
    """Befalls one call of an operation."""

    def operations(self) -> Sequence[str]:
        return tuple(services())

    @abstractmethod
    def spoil(self, call: Call, answer: Exchange) -> Exchange:
        """How the call is answered with this fault; `answer` is how it would have been.

        Raises:
            AwsError, S3Error: it is refused, and nothing is carried out.
        """


@dataclass(frozen=True, kw_only=True)
class Throttle(CallFault):
    """Refuse the call as one too many; nothing is carried out."""

    word = "throttle"

    def spoil(self, call: Call, answer: Exchange) -> Exchange:
        if services()[call.operation] == "s3":
            raise SlowDown("Please reduce your request rate.")
        raise ThrottlingException("Rate exceeded")


@dataclass(frozen=True, kw_only=True)
class FailCall(CallFault):
    """Answer with a server error of AWS's own; nothing is carried out."""

    word = "fail_call"

    def spoil(self, call: Call, answer: Exchange) -> Exchange:
        if services()[call.operation] == "s3":
            raise S3Error("We encountered an internal error. Please try again.")
        raise InternalFailure("The request processing has failed because of an unknown error, exception or failure.")


@dataclass(frozen=True, kw_only=True)
class RefuseCapacity(CallFault):
    """Refuse a job or an endpoint as over the account's quota of instances; nothing is carried out."""

    word = "refuse_capacity"

    def operations(self) -> Sequence[str]:
        return tuple(USAGES)

    def spoil(self, call: Call, answer: Exchange) -> Exchange:
        instances, count = _instances(call.body)
        raise ResourceLimitExceeded(
            f"The account-level service limit '{instances} for {USAGES[call.operation]} usage' is 0 Instances, with "
            f"current utilization of 0 Instances and a request delta of {count} Instances. Please use AWS Service "
            "Quotas to request an increase for this quota. If AWS Service Quotas is not available, contact AWS support "
            "to request an increase for this quota."
        )


@dataclass(frozen=True, kw_only=True)
class DropConnection(CallFault):
    """Close the connection without an answer; nothing is carried out."""

    word = "drop_connection"
    after_bytes: int = 0
    """Close it in the midst of an object instead, when so many of its bytes have come or gone."""

    def __post_init__(self) -> None:
        check_number("after_bytes", self.after_bytes, "bytes")
        if type(self.after_bytes) is not int:
            raise FaultPlanError(f"after_bytes is {self.after_bytes!r}; it must be a whole number of bytes")

    def operations(self) -> Sequence[str]:
        return (*UPLOADS, *DOWNLOADS) if self.after_bytes else super().operations()

    def spoil(self, call: Call, answer: Exchange) -> Exchange:
        if not self.after_bytes:
            return exchange.dropped
        cut = exchange.cut_upload if call.operation in UPLOADS else exchange.cut_download
        return partial(cut, answer, self.after_bytes)


@dataclass(frozen=True, kw_only=True)
class LoseResponse(CallFault):
    """Carry out the operation, durably as ever, and close the connection instead of answering."""

    word = "lose_response"

    def spoil(self, call: Call, answer: Exchange) -> Exchange:
        return partial(exchange.unanswered, answer)


@dataclass(frozen=True, kw_only=True)
class Delay(CallFault):
    """Answer late: wait before the operation is carried out, or after it, or both."""

    word = "delay"
    before_seconds: float = 0
    after_seconds: float = 0

    def __post_init__(self) -> None:
        check_number("before_seconds", self.before_seconds)
        check_number("after_seconds", self.after_seconds)
        if not self.before_seconds and not self.after_seconds:
            raise FaultPlanError("delay needs before_seconds or after_seconds above 0")

    def spoil(self, call: Call, answer: Exchange) -> Exchange:
        return partial(exchange.delayed, answer, self.before_seconds, self.after_seconds)


@dataclass(frozen=True, kw_only=True)
class SlowBody(CallFault):
    """Let an object's bytes trickle, in an upload or a download; nothing else is changed."""

    word = "slow_body"
    bytes_per_second: float

    def __post_init__(self) -> None:
        check_number("bytes_per_second", self.bytes_per_second, "bytes")
        if not self.bytes_per_second:
            raise FaultPlanError("slow_body needs bytes_per_second above 0")

    def operations(self) -> Sequence[str]:
        return (*UPLOADS, *DOWNLOADS)

    def spoil(self, call: Call, answer: Exchange) -> Exchange:
        return partial(exchange.paced, answer, self.bytes_per_second)


@dataclass(frozen=True, kw_only=True)
class JobFault(Fault):
    """Befalls one job, from its creation on; the supervisor asks at each step. This one changes nothing."""

    hold_seconds: float = 0
    """For so long after its creation the job gets no instances."""

    def operations(self) -> Sequence[str]:
        return CREATES_JOB

    def __post_init__(self) -> None:
        check_number("hold_seconds", self.hold_seconds)

    @property
    def ending(self) -> tuple[str, str | None] | None:
        """The status and FailureReason in which the job ends whatever its program does, or None when that decides."""
        return None

    @property
    def starts(self) -> bool:
        """Whether the job gets instances at all."""
        return True

    @property
    def interrupts(self) -> bool:
        """Whether it strikes by taking spot instances away, which befalls managed spot training only."""
        return False

    def is_held(self, since: float, now: float) -> bool:
        return now < since + self.hold_seconds

    def is_cut_short(self, ran_seconds: float) -> bool:
        """Whether the instances have run as long as they may."""
        return False

    def strikes(self, ran_seconds: float, struck: int) -> bool:
        """Whether it strikes now: after so long a run of these instances, having struck the job so often."""
        return False

    def strike(self, instances: Sequence[Instance]) -> None:
        """Do to running instances what it does."""


@dataclass(frozen=True, kw_only=True)
class HoldJob(JobFault):
    """The job waits for instances, and then runs as it would have."""

    word = "hold_job"
    hold_seconds: float

    def __post_init__(self) -> None:
        check_number("hold_seconds", self.hold_seconds)
        if not self.hold_seconds:
            raise FaultPlanError("hold_job needs hold_seconds above 0")


@dataclass(frozen=True, kw_only=True)
class EndJob(JobFault):
    """The job ends as the plan says: without ever starting, or after having run."""

    run_seconds: float | None = None
    """The longest that its instances run, from their start, before they are stopped; None: they never start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.run_seconds is not None:
            check_number("run_seconds", self.run_seconds)

    @property
    def starts(self) -> bool:
        return self.run_seconds is not None

    def is_cut_short(self, ran_seconds: float) -> bool:
        return self.run_seconds is not None and ran_seconds >= self.run_seconds


@dataclass(frozen=True, kw_only=True)
class FailJob(EndJob):
    """The job ends Failed, with this FailureReason."""

    word = "fail_job"
    reason: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text("reason", self.reason)
        if len(self.reason) > REASON_CHARACTERS:
            raise FaultPlanError(
                f"reason has {len(self.reason)} characters; SageMaker's FailureReason has at most {REASON_CHARACTERS}"
            )

    @property
    def ending(self) -> tuple[str, str | None]:
        return "Failed", self.reason


@dataclass(frozen=True, kw_only=True)
class StopJob(EndJob):
    """The job ends Stopped, as though someone had called Stop."""

    word = "stop_job"

    @property
    def ending(self) -> tuple[str, str | None]:
        return "Stopped", None


@dataclass(frozen=True, kw_only=True)
class StrikingFault(JobFault):
    """Strikes a job while it runs, once or several times."""

    run_seconds: float = 0
    """How long the instances have run when it strikes."""
    strikes_in_all: int = 1
    """How often it strikes one job; a job that is not started again is struck once at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("run_seconds", self.run_seconds)
        if type(self.strikes_in_all) is not int or self.strikes_in_all < 1:
            raise FaultPlanError(f"strikes_in_all is {self.strikes_in_all!r}; it must be a whole number of 1 or more")

    def strikes(self, ran_seconds: float, struck: int) -> bool:
        return struck < self.strikes_in_all and ran_seconds >= self.run_seconds


@dataclass(frozen=True, kw_only=True)
class InterruptJob(StrikingFault):
    """The spot instances are reclaimed: TERM, two minutes, KILL, and a new start; after `hold_seconds` if it says so."""

    word = "interrupt_job"

    def operations(self) -> Sequence[str]:
        return ("CreateTrainingJob",)

    @property
    def interrupts(self) -> bool:
        return True


@dataclass(frozen=True, kw_only=True)
class CrashHost(StrikingFault):
    """The first instance's host is gone, without a word."""

    word = "crash_host"

    def strike(self, instances: Sequence[Instance]) -> None:
        instances[0].lose()


@dataclass(frozen=True, kw_only=True)
class HangJob(StrikingFault):
    """Every process of the job hangs: alive, silent, and deaf to TERM."""

    word = "hang_job"

    def strike(self, instances: Sequence[Instance]) -> None:
        for instance in instances:
            instance.freeze()


FAULTS: Mapping[str, type[Fault]] = {
    fault.word: fault
    for fault in (
        Throttle, FailCall, RefuseCapacity, DropConnection, LoseResponse, Delay, SlowBody, HoldJob, FailJob, StopJob,
        InterruptJob, CrashHost, HangJob,
    )
}  # fmt: skip
"""Every fault there is, by the word that rules use."""
NO_FAULT = JobFault()


def fault_of(row: Mapping[str, Any]) -> Fault:
    """A fault by its word and its parameters; `row_of` is the way back.

    Raises:
        FaultPlanError: there is no such fault or parameter, or a parameter is missing or cannot be used.
    """
    word = row.get("fault")
    if not isinstance(word, str) or word not in FAULTS:
        raise FaultPlanError(f"fault is {word!r}; it must be one of {', '.join(FAULTS)}")
    known = fields(FAULTS[word])
    unknown = sorted(row.keys() - {"fault"} - {parameter.name for parameter in known})
    if unknown:
        takes = ", ".join(parameter.name for parameter in known) or "no parameters"
        raise FaultPlanError(f"{word} has no parameter {unknown[0]!r}; it takes {takes}")
    for parameter in known:
        if parameter.default is MISSING and parameter.name not in row:
            raise FaultPlanError(f"{word} needs {parameter.name}")
    return FAULTS[word](**{name: value for name, value in row.items() if name != "fault"})


def row_of(fault: Fault) -> dict[str, Any]:
    """A fault as it stands in a rule, and in the document of a job that it befalls."""
    return {"fault": fault.word, **{name: value for name, value in asdict(fault).items() if value is not None}}


def of_job(document: Mapping[str, Any]) -> JobFault:
    """The fault that was settled for a job when it was created."""
    row = document.get("fault")
    return cast(JobFault, fault_of(row)) if row else NO_FAULT


def _instances(body: bytes) -> tuple[str, int]:
    """The instance type and the number of instances that a request asks for first; an endpoint's names none."""
    try:
        asked = next(_clusters(json.loads(body)), {})
    except (ValueError, RecursionError):
        asked = {}
    count = asked.get("InstanceCount")
    return str(asked.get("InstanceType", "instances")), count if isinstance(count, int) else 1


def _clusters(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects in a request that name an instance type."""
    if isinstance(value, dict):
        if "InstanceType" in value:
            yield value
        for member in value.values():
            yield from _clusters(member)
    elif isinstance(value, list):
        for member in value:
            yield from _clusters(member)

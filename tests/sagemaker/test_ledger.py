"""The account of a run on a real S3: what is entered stays, the limit holds however jobs race, and a hole stops all."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import botocore.exceptions
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.sagemaker import ledger
from millrace.sagemaker.cost import Estimate, priced
from millrace.sagemaker.kinds import KINDS, PROCESSING, TRAINING, TRANSFORM, JobKind
from millrace.sagemaker.ledger import (
    MAX_ENTRY_BYTES,
    Entry,
    EntryKey,
    LedgerError,
    MaxCostError,
    latest_run,
    read_run,
    reserve,
    run_folder,
    run_total,
    settle,
    withdraw,
)
from millrace.sagemaker.names import TaskIdentity
from millrace.sagemaker.prices import VARIABLE, Price, Prices, shipped

BUCKET = "bucket"
COUNTER = itertools.count()
SLOW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(str.isprintable)
AMOUNTS = st.decimals("0", "1000", places=6)


class Run:
    """A run of its own in the account."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.dag_id = "prices.daily"
        self.run_id = f"manual__{next(COUNTER)}"

    def whose(self, task_id: str, generation: int = 0, map_index: int = -1, kind: JobKind = TRAINING) -> EntryKey:
        identity = TaskIdentity(
            deployment="test", dag_id=self.dag_id, run_id=self.run_id, task_id=task_id, map_index=map_index
        )
        return EntryKey(identity=identity, generation=generation, kind=kind)

    def reserve(self, whose: EntryKey | str, usd: str | Decimal, max_cost: Any, **more: Any) -> EntryKey:
        whose = self.whose(whose) if isinstance(whose, str) else whose
        reserve(self.s3, BUCKET, whose, amount(usd), max_cost, **more)
        return whose

    def read(self) -> ledger.RunCost:
        return read_run(self.s3, BUCKET, "test", self.dag_id, self.run_id)

    def objects(self) -> list[str]:
        folder = run_folder("test", self.dag_id, self.run_id)
        return [found["Key"] for found in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=folder).get("Contents", ())]

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)


@pytest.fixture
def run(s3: Any) -> Run:
    return Run(s3)


def amount(usd: str | Decimal, seconds: int = 3600) -> Estimate:
    return Estimate(
        seconds=seconds, instances=1, instance_type="ml.m5.large", usd=Decimal(usd), price_table="2026-09 us-east-1"
    )


def without_price(instance_type: str = "ml.m4.xlarge", seconds: int = 3600) -> Estimate:
    return priced("training", instance_type, 1, seconds, shipped())


def test_a_job_is_reserved_at_its_ceiling_and_settled_at_its_cost(run: Run) -> None:
    whose = run.reserve("train", "0.115", "1")
    (entry,) = run.read().entries
    assert (entry.state, entry.whose, entry.estimate) == ("reserved", whose, amount("0.115"))
    assert run_total(run.s3, BUCKET, "test", run.dag_id, run.run_id) == 0
    settle(run.s3, BUCKET, whose, amount("0.02", 600))
    (entry,) = run.read().entries
    assert (entry.state, entry.estimate) == ("final", amount("0.02", 600))
    assert run_total(run.s3, BUCKET, "test", run.dag_id, run.run_id) == Decimal("0.02")


def test_an_entry_lies_under_the_runs_folder_and_says_what_a_person_needs(run: Run) -> None:
    whose = run.reserve(run.whose("group.train", generation=2, map_index=3), "0.115", None)
    (key,) = run.objects()
    assert key.startswith(f"test/cost/prices-daily/{whose.identity.prefix(0).split('/')[2]}/group-train-")
    assert key.endswith("-2.json")
    document = json.loads(run.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert document == {
        "state": "reserved", "deployment": "test", "dag_id": run.dag_id, "run_id": run.run_id, "task_id": "group.train",
        "map_index": 3, "generation": 2, "kind": "training", "job_name": whose.identity.job_name(2),
        "instance_type": "ml.m5.large", "instances": 1, "seconds": 3600, "usd": "0.115", "why_unknown": "",
        "price_table": "2026-09 us-east-1",
    }  # fmt: skip


def test_the_limit_may_be_reached_and_not_passed(run: Run) -> None:
    run.reserve("first", "0.6", "1")
    run.reserve("second", "0.4", "1")
    with pytest.raises(MaxCostError):
        run.reserve("third", "0.000001", "1")
    assert {entry.whose.identity.task_id for entry in run.read().entries} == {"first", "second"}


def test_what_was_spent_says_so_and_does_not_pass_later(run: Run) -> None:
    settle(run.s3, BUCKET, run.whose("prepare"), amount("0.9", 100))
    with pytest.raises(MaxCostError) as caught:
        run.reserve(run.whose("train", map_index=2), "0.115", 1.0)
    assert str(caught.value) == (
        "train[2] generation 0 would pass the run's max_cost of $1.00, so it is not submitted: $0.90 are spent, $0.00 are "
        "reserved by other jobs, and this one may cost up to $0.115 (ml.m5.large x 1 for 3600 s at most). "
        "Raise max_cost, or lower this task's maximum runtime or its instances"
    )
    assert not caught.value.may_pass_later


def test_a_reservation_in_the_way_is_named_and_may_pass_later(run: Run) -> None:
    other = run.reserve("other", "0.95", "1")
    with pytest.raises(
        MaxCostError, match=r"It would fit but for what is reserved by other generation 0.*retry"
    ) as caught:
        run.reserve("train", "0.115", "1")
    assert caught.value.may_pass_later
    settle(run.s3, BUCKET, other, amount("0.3"))
    run.reserve("train", "0.115", "1")


def test_a_job_that_alone_is_too_dear_is_refused(run: Run) -> None:
    with pytest.raises(MaxCostError, match="Raise max_cost") as caught:
        run.reserve("train", "1.5", "1")
    assert not caught.value.may_pass_later
    assert run.objects() == []


def test_without_a_limit_the_account_is_kept_and_nothing_is_refused(run: Run) -> None:
    run.reserve("first", "1000", None)
    run.put(run_folder("test", run.dag_id, run.run_id) + "broken.json", b"{")
    run.reserve("second", "1000", None)
    reserve(run.s3, BUCKET, run.whose("third"), without_price(), None)
    assert len(run.read().entries) == 3


def test_a_retry_of_a_generation_overwrites_its_own_entry(run: Run) -> None:
    for _ in range(3):
        run.reserve("train", "0.6", "1")
    assert run.read().sum_of("reserved") == Decimal("0.6")


def test_generations_that_ended_were_paid_and_stay(run: Run) -> None:
    settle(run.s3, BUCKET, run.whose("train", 0), amount("0.6"))
    with pytest.raises(MaxCostError, match=r"\$0.60 are spent"):
        run.reserve(run.whose("train", 1), "0.6", "1")
    run.reserve(run.whose("train", 1), "0.4", "1")
    assert [entry.whose.generation for entry in run.read().entries] == [0, 1]


def test_a_job_that_was_not_submitted_after_all_gives_its_reservation_back(run: Run) -> None:
    withdraw(run.s3, BUCKET, run.reserve("train", "0.6", "1"))
    assert run.objects() == []
    withdraw(run.s3, BUCKET, run.whose("train"))  # twice is no error


def test_runs_and_deployments_have_accounts_of_their_own(run: Run, s3: Any) -> None:
    run.reserve("train", "1", "1")
    Run(s3).reserve("train", "1", "1")
    identity = TaskIdentity(deployment="other", dag_id=run.dag_id, run_id=run.run_id, task_id="train")
    reserve(s3, BUCKET, EntryKey(identity=identity, generation=0, kind=TRAINING), amount("1"), "1")


def test_a_type_without_a_price_is_refused_by_name_under_a_limit(run: Run) -> None:
    with pytest.raises(
        MaxCostError, match=r"cannot be held against max_cost \(\$1.00\).*ml.m4.xlarge.*MILLRACE_PRICES"
    ):
        reserve(run.s3, BUCKET, run.whose("train"), without_price(), "1")
    assert run.objects() == []


def test_another_job_without_a_price_is_named_until_it_has_one(run: Run) -> None:
    settle(run.s3, BUCKET, run.whose("old"), without_price())
    with pytest.raises(
        MaxCostError, match=r"whose cost is not known: old generation 0 \(the price of ml.m4.xlarge"
    ) as caught:
        run.reserve("train", "0.5", "1")
    assert not caught.value.may_pass_later
    prices = Prices({"training": {"ml.m4.xlarge": Price(Decimal("0.6"), "own")}})
    with pytest.raises(MaxCostError, match=r"\$0.60 are spent"):
        run.reserve("train", "0.5", "1", prices=prices)
    run.reserve("train", "0.4", "1", prices=prices)


def test_a_price_that_the_environment_has_gained_counts(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    reserve(run.s3, BUCKET, run.whose("old"), without_price(), None)
    path = tmp_path_factory.mktemp("prices") / "own.json"
    prices = {"training": {"ml.m4.xlarge": 0.6}}
    path.write_text(
        json.dumps(
            {
                "as_of": "2026-11",
                "region": "eu-west-1",
                "currency": "USD",
                "unit": "per instance-hour",
                "prices": prices,
            }
        )
    )
    monkeypatch.setenv(VARIABLE, str(path))
    with pytest.raises(MaxCostError, match=r"\$0.60 are reserved"):
        run.reserve("train", "0.5", "1")


@pytest.mark.parametrize("max_cost", [0, -1, "0", "NaN", "Infinity", "ten", float("nan"), True, 10**10])
def test_a_limit_that_is_no_amount_is_refused_before_anything_is_written(run: Run, max_cost: Any) -> None:
    with pytest.raises(ValueError, match=r"max_cost is .*; it must be a number of US dollars above 0"):
        run.reserve("train", "1", max_cost)
    assert run.objects() == []


ENTRY = {
    "state": "final", "deployment": "test", "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "generation": 0,
    "kind": "training", "instance_type": "ml.m5.large", "instances": 1, "seconds": 1, "usd": "1.5", "why_unknown": "",
    "price_table": "",
}  # fmt: skip
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "state": ({"state": "lost"}, "state is 'lost'; it must be one of reserved, final"),
    "state that is no text": ({"state": [1]}, "state is a list"),
    "kind": ({"kind": "tuning-job"}, "kind is 'tuning-job'; it must be one of training"),
    "no kind": ({"kind": None}, "kind is None; it must be a printable text"),
    "amount as a number": ({"usd": 1.5}, 'usd is 1.5; it must be null or an amount as text, like "0.057500"'),
    "negative amount": ({"usd": "-1"}, "usd is '-1'"),
    "amount that is none": ({"usd": "NaN"}, "usd is 'NaN'"),
    "amount with an exponent": ({"usd": "1E+9"}, "usd is '1E"),
    "neither amount nor reason": ({"usd": None}, "an amount or a reason"),
    "amount and reason": ({"why_unknown": "no price"}, "an amount or a reason"),
    "seconds": ({"seconds": -1}, "seconds is -1; it must be a whole number from 0"),
    "seconds as truth": ({"seconds": True}, "seconds is True"),
    "instances": ({"instances": 10**12}, "instances is 1000000000000"),
    "generation": ({"generation": "0"}, "generation is '0'"),
    "map index": ({"map_index": -2}, "map_index is -2; it must be a whole number from -1"),
    "escape sequences": ({"instance_type": "\x1b[2J"}, "instance_type is '\\x1b[2J'"),
    "a long text": ({"task_id": "t" * 1001}, "task_id is 'tttt"),
}


@pytest.mark.parametrize(("change", "said"), BROKEN.values(), ids=BROKEN)
def test_an_entry_that_cannot_be_is_refused_by_field(change: dict[str, Any], said: str) -> None:
    Entry.from_json(json.dumps(ENTRY).encode())
    with pytest.raises(ValueError) as caught:
        Entry.from_json(json.dumps(ENTRY | change).encode())
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.dictionaries(st.sampled_from(sorted(ENTRY)), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=5,
), max_size=5), st.binary(max_size=50))  # fmt: skip
def test_whatever_lies_there_is_an_entry_or_a_value_error(change: dict[str, Any], noise: bytes) -> None:
    for raw in (json.dumps(ENTRY | change).encode(), noise, b"[" * 10_000):
        with contextlib.suppress(ValueError):
            Entry.from_json(raw)


@given(
    whose=st.builds(
        EntryKey,
        identity=st.builds(
            TaskIdentity, deployment=st.just("test"), dag_id=TEXTS, run_id=TEXTS, task_id=TEXTS,
            map_index=st.integers(-1, 5000),
        ),
        generation=st.integers(0, 1000),
        kind=st.sampled_from(list(KINDS.values())),
    ),
    state=st.sampled_from(ledger.STATES),
    usd=AMOUNTS,
)  # fmt: skip
def test_an_entry_reads_back_as_it_was_written_and_its_key_is_safe(
    whose: EntryKey, state: ledger.State, usd: Decimal
) -> None:
    entry = Entry(whose, state, amount(usd))
    raw = entry.to_json()
    assert Entry.from_json(raw) == entry
    assert len(raw) <= MAX_ENTRY_BYTES
    assert set(whose.key) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-/.")
    assert whose.key.count("/") == 4


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Expecting value"),
        (b"[1]", "it is not an object"),
        (b"\x81\x82\x83\x84", "decode"),
        (b" " * (MAX_ENTRY_BYTES + 1), f"it is {MAX_ENTRY_BYTES + 1} bytes, and an entry at most {MAX_ENTRY_BYTES}"),
        (json.dumps(ENTRY).encode(), "it says that it is the entry of another job"),
    ],
    ids=["empty", "list", "bytes", "huge", "another's"],
)
def test_an_object_that_is_no_entry_stops_every_job_under_a_limit(run: Run, body: bytes, said: str) -> None:
    key = run_folder("test", run.dag_id, run.run_id) + "foreign.json"
    run.put(key, body)
    with pytest.raises(LedgerError) as caught:
        run.reserve("train", "0.1", "1000")
    assert f"1 of its entries cannot be read: s3://bucket/{key}: " in str(caught.value)
    assert said in str(caught.value)
    assert "write the entry anew or delete it" in str(caught.value)
    assert run.objects() == [key]  # nothing stays reserved
    with pytest.raises(LedgerError):
        run_total(run.s3, BUCKET, "test", run.dag_id, run.run_id)
    found = run.read()  # a person may still look
    assert (len(found.entries), len(found.unreadable)) == (0, 1)


def test_more_objects_than_a_run_can_have_are_not_read(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for task_id in "abc":
        run.reserve(task_id, "0.1", None)
    monkeypatch.setattr(ledger, "MAX_ENTRIES", 3)
    with pytest.raises(LedgerError, match="more than 3 objects lie under s3://bucket/test/cost/"):
        run.reserve("d", "0.1", "100")
    assert len(run.objects()) == 3


def test_a_bucket_that_is_not_there_raises_and_passes_nothing(run: Run) -> None:
    for max_cost in (None, "1"):
        with pytest.raises(botocore.exceptions.ClientError, match="NoSuchBucket"):
            reserve(run.s3, "no-such-bucket", run.whose("train"), amount("0.1"), max_cost)


def test_the_latest_run_is_the_one_that_was_entered_into_last(s3: Any) -> None:
    first, second, foreign = Run(s3), Run(s3), Run(s3)
    first.dag_id = second.dag_id = f"latest.{next(COUNTER)}"
    foreign.dag_id = first.dag_id.replace(".", "-")  # its entries lie in the same folder
    assert latest_run(s3, BUCKET, "test", first.dag_id) is None
    first.reserve("train", "1", None)
    until_newer(s3, first)
    second.reserve("train", "1", None)
    until_newer(s3, second)
    foreign.reserve("train", "1", None)
    assert latest_run(s3, BUCKET, "test", first.dag_id) == second.run_id
    assert latest_run(s3, BUCKET, "test", foreign.dag_id) == foreign.run_id
    until_newer(s3, foreign)
    settle(s3, BUCKET, first.whose("train"), amount("1"))
    assert latest_run(s3, BUCKET, "test", first.dag_id) == first.run_id
    until_newer(s3, first)
    second.put(run_folder("test", second.dag_id, second.run_id) + "broken.json", b"{")
    with pytest.raises(LedgerError, match=r"which run of latest.\d+ is the latest cannot be told, so name the run"):
        latest_run(s3, BUCKET, "test", first.dag_id)


def until_newer(s3: Any, run: Run) -> None:
    """Wait until an object written now is newer than all of a run: S3 tells times to the second."""
    while True:
        s3.put_object(Bucket=BUCKET, Key="clock", Body=b"")
        now = s3.head_object(Bucket=BUCKET, Key="clock")["LastModified"]
        if all(now > s3.head_object(Bucket=BUCKET, Key=key)["LastModified"] for key in run.objects()):
            return
        threading.Event().wait(0.05)


class Turns:
    """Lets threads act on S3 in a given order, one act at a time; when the order is used up, as they come."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = list(order)
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def turn(self, who: int) -> Iterator[None]:
        with self._changed:
            assert self._changed.wait_for(lambda: not self._order or self._order[0] == who, 30)
            try:
                yield
            finally:
                del self._order[:1]
                self._changed.notify_all()

    def leave(self, who: int) -> None:
        with self._changed:
            self._order = [other for other in self._order if other != who]
            self._changed.notify_all()


class Actor:
    """The real S3 as one thread sees it: each call waits for its turn."""

    def __init__(self, s3: Any, turns: Turns, who: int) -> None:
        self._s3, self._turns, self._who = s3, turns, who

    def get_object(self, **arguments: Any) -> Any:
        with self._turns.turn(self._who):
            return self._s3.get_object(**arguments)

    def put_object(self, **arguments: Any) -> Any:
        with self._turns.turn(self._who):
            return self._s3.put_object(**arguments)

    def delete_object(self, **arguments: Any) -> Any:
        with self._turns.turn(self._who):
            return self._s3.delete_object(**arguments)

    def get_paginator(self, operation: str) -> Any:
        return self

    def paginate(self, **arguments: Any) -> Any:
        with self._turns.turn(self._who):
            return list(self._s3.get_paginator("list_objects_v2").paginate(**arguments))


CENTS = st.integers(1, 60)
ORDERS = st.lists(st.integers(0, 3), max_size=30)


@SLOW
@given(ceilings=st.lists(CENTS, min_size=2, max_size=4), used=st.floats(0, 1), order=ORDERS)
def test_the_limit_is_never_passed_whatever_the_interleaving(
    s3: Any, ceilings: list[int], used: float, order: list[int]
) -> None:
    run, turns, limit = Run(s3), Turns([who for who in order if who < len(ceilings)]), Decimal(1)

    def job(who: int) -> bool:
        actor, whose, cents = Actor(s3, turns, who), run.whose(f"job-{who}"), ceilings[who]
        try:
            reserve(actor, BUCKET, whose, amount(Decimal(cents) / 100), limit)
            if who % 2:
                settle(actor, BUCKET, whose, amount(Decimal(int(cents * used)) / 100))
            return True
        except MaxCostError:
            return False
        finally:
            turns.leave(who)

    with ThreadPoolExecutor(len(ceilings)) as threads:
        passed = list(threads.map(job, range(len(ceilings))))
    check_account(run, ceilings, passed, limit, settled=lambda who: bool(who % 2))
    if sum(ceilings) <= 100:
        assert all(passed)


@settings(SLOW, max_examples=8)
@given(st.lists(CENTS, min_size=6, max_size=6))
def test_the_limit_is_never_passed_by_jobs_that_race_freely(s3: Any, ceilings: list[int]) -> None:
    run, limit, start = Run(s3), Decimal(1), threading.Barrier(len(ceilings))

    def job(who: int) -> bool:
        start.wait(30)
        try:
            run.reserve(f"job-{who}", Decimal(ceilings[who]) / 100, limit)
            return True
        except MaxCostError:
            return False

    with ThreadPoolExecutor(len(ceilings)) as threads:
        passed = list(threads.map(job, range(len(ceilings))))
    check_account(run, ceilings, passed, limit, settled=lambda who: False)


def check_account(
    run: Run, ceilings: list[int], passed: list[bool], limit: Decimal, settled: Callable[[int], bool]
) -> None:
    """Who passed is on the account, who was refused is not, and together they keep the limit."""
    found = run.read()
    assert {entry.whose.identity.task_id for entry in found.entries} == {
        f"job-{who}" for who, did in enumerate(passed) if did
    }
    assert found.sum_of("final") + found.sum_of("reserved") <= limit
    held = sum(cents for who, cents in enumerate(ceilings) if passed[who] and not settled(who))
    assert found.sum_of("reserved") == Decimal(held) / 100


def test_two_that_write_before_either_reads_are_both_refused_and_then_one_passes(s3: Any) -> None:
    run, turns = Run(s3), Turns([0, 1, 0, 1, 0, 0, 1, 1, 0, 1])  # both write, both list, both read both, both withdraw
    errors: list[MaxCostError] = []

    def job(who: int) -> None:
        with pytest.raises(MaxCostError, match=r"each may be refused because of the other") as caught:
            reserve(Actor(s3, turns, who), BUCKET, run.whose(f"job-{who}"), amount("0.6"), "1")
        errors.append(caught.value)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(job, range(2)))
    assert [error.may_pass_later for error in errors] == [True, True]
    assert run.objects() == []
    run.reserve("job-0", "0.6", "1")


def test_many_entries_are_read_at_once_and_summed_exactly(run: Run) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(
            threads.map(
                lambda index: settle(run.s3, BUCKET, run.whose("m", 0, index, TRANSFORM), amount("0.1")), range(60)
            )
        )
    assert run_total(run.s3, BUCKET, "test", run.dag_id, run.run_id) == 6
    run.reserve(run.whose("last", kind=PROCESSING), "0.1", "6.1")

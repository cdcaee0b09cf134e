"""Many jobs, one triggerer: API calls, CPU, memory, stalls of its event loop, and how soon the end of a job is noticed.

A real `airflow triggerer` on Postgres waits for jobs of a real runtime, in turn with

    idle       nothing but a ticker that measures the event loop
    floor      triggers that only sleep: what any trigger costs Airflow
    peer       the amazon provider's SageMakerTrigger, as its deferrable operators use it (a look every 30 s)
    millrace   what ProcessingOperator defers to, with its defaults

The runtime has room for one job, and that one sleeps: all others stay InProgress, as on an account whose quota is used up.
Some are then ended one by one with StopProcessingJob. Nothing is faked between job and trigger; only the workers that would
have deferred the tasks are left out (`waiting_rows`). Calls are counted on the wire (`wire_tap`).

    python -m benchmarks.waiting [--jobs 1000] [--seconds 120] [--endings 20]
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.live.postgres import Postgres
from tests.runtime.jobs import CLUSTER, Jobs
from tests.runtime.process import RuntimeProcess, until

from benchmarks import peer
from benchmarks.figures import Figure, emit, ratio, rounded, verdict
from benchmarks.triggerer import Cost, Triggerer
from benchmarks.wire_tap import WireTap
from millrace.cli.environment import for_child
from millrace.cli.layout import BUCKET, Layout

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

    from benchmarks.waiting_rows import Slot

PROJECT = Path(__file__).parents[1]
DAGS = PROJECT / "benchmarks/dags"
TASKS = 50
PEER_POLL_SECONDS = 30
"""The provider's default check_interval."""
IDLE_SETTLE_SECONDS = 5
CALLS_TARGET, COST_TARGET, STALL_TARGET_MS = 1 / 50, 1 / 20, 100.0


@dataclass(frozen=True, slots=True)
class Phase:
    """What one triggerer did: while starting, then in the steady window, then while jobs ended."""

    ready_seconds: float
    start_cpu_seconds: float
    cpu_per_minute: float
    own_mb: float
    pss_mb: float
    sagemaker_calls_per_minute: float
    logs_calls_per_minute: float
    calls: dict[str, int]
    start_stall_ms: float
    steady_stall_ms: Figure
    noticed_seconds: Figure | None


class Bench:
    """A runtime, a database and a wire between them, for triggerers in turn."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self._folder = folder
        self._options = options
        self.postgres = Postgres()
        self.runtime = RuntimeProcess(folder / "runtime", "--max-instances", "1")
        layout = Layout(project=PROJECT, state=folder / "state", first_port=self.runtime.port)
        layout.airflow_home.mkdir(parents=True)
        self.environment = {
            **for_child(layout, "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.postgres.url,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH")))),
        }

    @contextmanager
    def up(self) -> Iterator[None]:
        self.postgres.start()
        try:
            for command in (("db", "migrate"), ("dags", "reserialize")):
                self._airflow(*command)
            self.runtime.start()
            self.runtime.client("s3").create_bucket(Bucket=BUCKET)
            Jobs(self.runtime).processing(
                "sleep 86400", name="holds-the-only-place", ProcessingResources={"ClusterConfig": CLUSTER}
            )
            # This process writes rows and submits jobs as Airflow would, and says less.
            os.environ.update({**self.environment, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"})
            yield
        finally:
            try:
                if self.runtime.process is not None:
                    self.runtime.end_everything()
            finally:
                self.postgres.remove()

    def phase(
        self, name: str, python: Path, waiting: dict[Slot, BaseTrigger], jobs: dict[Slot, str], seconds: float
    ) -> Phase:
        """One triggerer from its start to its end.

        The steady window opens when every trigger runs and has looked once: the provider's look for themselves, so each has
        made a call; Millrace's share their looks, so one call is enough.
        """
        from benchmarks import waiting_rows
        from benchmarks.probes import LoopTicker

        tap = WireTap(self.runtime.port)
        tap.start()
        connection = self.environment["AIRFLOW_CONN_AWS_DEFAULT"].replace(self.runtime.url, tap.url)
        environment = {
            **self.environment,
            "AWS_ENDPOINT_URL": tap.url,
            "AWS_ACCESS_KEY_ID": f"benchmark-{name}",
            "AIRFLOW_CONN_AWS_DEFAULT": connection,
        }
        triggerer = Triggerer(python, environment, self._folder / name, capacity=len(waiting) + 100)
        ticker = {waiting_rows.Slot(f"{name}_0", "ticker"): LoopTicker(str(triggerer.ticks))}
        waiting_rows.insert({**ticker, **waiting})
        started = time.time()
        triggerer.start()
        try:

            def all_run() -> bool:
                assert triggerer.is_alive(), f"the triggerer has ended:\n{triggerer.end_of_log()}"
                looks = {"peer": len(waiting), "millrace": 1}.get(name, 0)
                return triggerer.running() > len(waiting) and len(tap.calls) >= looks

            until(all_run, 600, f"{len(waiting)} triggers run in the triggerer of {name}")
            ready = time.time() - started
            time.sleep(self._options.settle if jobs else IDLE_SETTLE_SECONDS)
            first, window = self._window(triggerer, seconds)
            noticed = self._end_some(triggerer, jobs) if jobs else None
            calls = tap.count(first.time, window.time)
            minutes = (window.time - first.time) / 60
            return Phase(
                ready_seconds=ready,
                start_cpu_seconds=first.cpu_seconds,
                cpu_per_minute=(window.cpu_seconds - first.cpu_seconds) / minutes,
                own_mb=window.own_mb,
                pss_mb=window.pss_mb,
                sagemaker_calls_per_minute=sum(n for call, n in calls.items() if not call.startswith("Logs")) / minutes,
                logs_calls_per_minute=sum(n for call, n in calls.items() if call.startswith("Logs")) / minutes,
                calls=dict(calls),
                start_stall_ms=max(triggerer.lateness(started, first.time), default=0.0) * 1000,
                steady_stall_ms=Figure.of([s * 1000 for s in triggerer.lateness(first.time, window.time)], "ms"),
                noticed_seconds=noticed,
            )
        finally:
            triggerer.stop()
            tap.stop()
            waiting_rows.clear()

    @staticmethod
    def _window(triggerer: Triggerer, seconds: float) -> tuple[Cost, Cost]:
        first = triggerer.cost()
        time.sleep(seconds)
        return first, triggerer.cost()

    def _end_some(self, triggerer: Triggerer, jobs: dict[Slot, str]) -> Figure:
        """End jobs one by one, anywhere within a polling interval; how long after its end each trigger fired."""
        from benchmarks.waiting_rows import resumed

        sagemaker = self.runtime.client("sagemaker")
        chosen = random.Random(1).sample(
            sorted(jobs, key=lambda slot: jobs[slot]), min(self._options.endings, len(jobs))
        )
        for slot in chosen:
            sagemaker.stop_processing_job(ProcessingJobName=jobs[slot])
            time.sleep(random.uniform(0.5, 1.5) * self._options.ending_seconds)
        for slot in chosen:
            until(lambda slot=slot: resumed(slot), 120, f"the end of {jobs[slot]} is noticed")  # type: ignore[misc]
        fired = triggerer.events()
        delays = []
        for slot in chosen:
            ended = sagemaker.describe_processing_job(ProcessingJobName=jobs[slot])["ProcessingEndTime"].timestamp()
            delays.append(fired[slot.run_id, slot.task_id] - ended)
        return Figure.of(delays, "s")

    def _airflow(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments], env=self.environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise SystemExit(f"airflow {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def millraces(self, slots: list[Slot]) -> tuple[dict[Slot, BaseTrigger], dict[Slot, str]]:
        """Submit a job for each slot through ProcessingOperator, and take what it defers to."""
        from benchmarks.dags.waiting import waiting
        from benchmarks.waiting_rows import deferred_trigger

        dag = waiting()
        triggers = {slot: deferred_trigger(dag.get_task(slot.task_id), slot) for slot in slots}
        return triggers, {slot: str(trigger.serialize()[1]["job_name"]) for slot, trigger in triggers.items()}

    def peers(self, slots: list[Slot]) -> tuple[dict[Slot, BaseTrigger], dict[Slot, str]]:
        """The same number of jobs under names of their own, and the triggers that the provider's operator defers to."""
        from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger

        submit = Jobs(self.runtime).processing
        with ThreadPoolExecutor(4) as pool:
            names = dict(
                zip(slots, pool.map(lambda index: submit("true", name=f"peer-{index}"), range(len(slots))), strict=True)
            )
        arguments: dict[str, Any] = {"waiter_delay": PEER_POLL_SECONDS, "waiter_max_attempts": 480}
        triggers = {
            slot: SageMakerTrigger(job_name=name, job_type="Processing", **arguments) for slot, name in names.items()
        }
        return triggers, names

    def stop_jobs(self, names: dict[Slot, str]) -> None:
        sagemaker = self.runtime.client("sagemaker")
        for name in names.values():
            if sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == "InProgress":
                sagemaker.stop_processing_job(ProcessingJobName=name)


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Phase]:
    from benchmarks.probes import Sleeper
    from benchmarks.waiting_rows import slots

    ours, theirs = Path(sys.executable), peer.interpreter()
    short = min(options.seconds / 2, 30)
    phases: dict[str, Phase] = {}

    def run(name: str, python: Path, waiting: dict[Slot, BaseTrigger], jobs: dict[Slot, str], seconds: float) -> None:
        print(f"measuring {name}: {len(waiting)} triggers", file=sys.stderr, flush=True)
        phases[name] = bench.phase(name, python, waiting, jobs, seconds)
        bench.stop_jobs(jobs)

    making: dict[str, Callable[[list[Slot]], tuple[dict[Slot, BaseTrigger], dict[Slot, str]]]]
    making = {"peer": bench.peers, "millrace": bench.millraces}
    wanted = options.only or list(making)
    for name in wanted:
        python = theirs if name == "peer" else ours
        run(f"idle_{name}", python, {}, {}, short)
        sleeping = {slot: Sleeper() for slot in slots(options.jobs, TASKS, f"floor_{name}")}
        run(f"floor_{name}", python, sleeping, {}, short)
        run(name, python, *making[name](slots(options.jobs, TASKS, name)), options.seconds)
    return phases


def show(phases: dict[str, Phase], jobs: int) -> None:
    print(f"{jobs} jobs waiting in one triggerer")
    for name, phase in phases.items():
        rows = {
            "ready after": f"{rounded(phase.ready_seconds)} s",
            "CPU": f"{rounded(phase.start_cpu_seconds)} s until steady, then {rounded(phase.cpu_per_minute)} s/min",
            "memory": f"{rounded(phase.own_mb)} MB (PSS {rounded(phase.pss_mb)})",
            "SageMaker": f"{rounded(phase.sagemaker_calls_per_minute)} calls/min",
            "Logs": f"{rounded(phase.logs_calls_per_minute)} calls/min",
            "loop late": f"while starting {rounded(phase.start_stall_ms)} ms, then {phase.steady_stall_ms}",
        }
        if phase.noticed_seconds:
            rows["end noticed"] = f"after {phase.noticed_seconds}"
        print("\n".join([f"  {name}", *(f"    {what:12} {value}" for what, value in rows.items())]))
    if not {"peer", "millrace"} <= set(phases):
        return
    theirs, ours = phases["peer"], phases["millrace"]

    def compare(what: str, value: Callable[[Phase], float], base: str | None, target: float) -> None:
        our = value(ours) - (value(phases[f"{base}_millrace"]) if base else 0)
        their = value(theirs) - (value(phases[f"{base}_peer"]) if base else 0)
        share = our / their if their > 0 else float("nan")
        above = f" above {base}" if base else ""
        print(f"  {what}{above}: {rounded(our)} against {rounded(their)}: {rounded(share)}x; {verdict(share, target)}")

    compare("SageMaker calls a minute", lambda phase: phase.sagemaker_calls_per_minute, None, CALLS_TARGET)
    compare("all calls a minute", lambda p: p.sagemaker_calls_per_minute + p.logs_calls_per_minute, None, CALLS_TARGET)
    for base in ("idle", "floor"):
        compare("steady CPU s/min", lambda phase: phase.cpu_per_minute, base, COST_TARGET)
        compare("CPU s until steady", lambda phase: phase.start_cpu_seconds, base, COST_TARGET)
        compare("memory, MB", lambda phase: phase.own_mb, base, COST_TARGET)
    stall = ours.steady_stall_ms.spread[1]
    print(f"  the loop's worst stall: {rounded(stall)} ms; {verdict(stall, STALL_TARGET_MS)}")
    floor = phases["floor_millrace"].start_stall_ms
    print(
        f"  while triggers are started: {rounded(ours.start_stall_ms)} ms; triggers that only sleep: {rounded(floor)} ms"
    )
    if ours.noticed_seconds and theirs.noticed_seconds:
        print(
            f"  end noticed, Millrace / peer: {ratio(ours.noticed_seconds, theirs.noticed_seconds)}; "
            f"{verdict(ours.noticed_seconds.median / theirs.noticed_seconds.median, 1)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120, help="the steady window")
    parser.add_argument(
        "--settle", type=float, default=PEER_POLL_SECONDS + 5, help="seconds between the first looks and the window"
    )
    parser.add_argument("--endings", type=int, default=20, help="jobs that end one by one")
    parser.add_argument("--ending-seconds", type=float, default=3, help="mean time between two ends")
    parser.add_argument("--only", action="append", choices=("peer", "millrace"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-waiting-") as folder:
        bench = Bench(Path(folder), options)
        with bench.up():
            phases = measure(bench, options)
    show(phases, options.jobs)
    emit("waiting", {"jobs": options.jobs, **{name: _document(phase) for name, phase in phases.items()}})


def _document(phase: Phase) -> dict[str, Any]:
    values = {name: getattr(phase, name) for name in Phase.__slots__}
    return {name: value.to_json() if isinstance(value, Figure) else value for name, value in values.items()}


if __name__ == "__main__":
    main()

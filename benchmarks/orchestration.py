"""What orchestration adds to a chain of ten no-op processing jobs, for each step.

The same Airflow (on Postgres, with Millrace's settings for a local stack) and the same runtime run the chains of
`dags/orchestration.py` in turn. The figure is (duration of the DAG run - the jobs' own durations) / 10; a job's own
duration is what Describe says, from creation to end. The floor is a chain of ten tasks that do nothing. The provider is
measured at its default interval of 30 s and at 1 s; its deferred chains get a triggerer of the peer's own environment.

A no-op job has ended before a deferred trigger looks for the first time, so the polling interval does not show there; with
`--job-seconds 5` it does.

    python -m benchmarks.orchestration [--rounds 3] [--job-seconds 0] [--ways floor,millrace_deferred,...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.live.stack import LiveAirflow
from tests.runtime.process import three_free_ports, until

from benchmarks import peer
from benchmarks.figures import Figure, emit, ratio, rounded, verdict
from benchmarks.triggerer import Triggerer

DAG_FILE = Path(__file__).parent / "dags/orchestration.py"
STEPS = 10
WAYS = (
    "floor", "millrace_deferred", "millrace_in_worker", "peer_in_worker_1s", "peer_in_worker_30s", "peer_deferred_1s",
    "peer_deferred_30s",
)  # fmt: skip
SLOW = {"peer_in_worker_30s"}
"""At least 30 s a step: run once, however many rounds."""
TARGET = 0.5
COMPARED = (
    ("millrace_deferred", "peer_deferred_30s"),
    ("millrace_deferred", "peer_deferred_1s"),
    ("millrace_in_worker", "peer_in_worker_30s"),
    ("millrace_in_worker", "peer_in_worker_1s"),
)
RUN_SECONDS = 900


def run_once(live: LiveAirflow, way: str) -> tuple[float, float]:
    """One DAG run: seconds added for each step, and the mean duration of its jobs."""
    run_id = live.api.trigger(way)

    def ended() -> bool:
        time.sleep(0.5)
        return live.api.run(way, run_id)["state"] in ("success", "failed")

    until(ended, RUN_SECONDS, f"the end of {way}")
    run = live.api.run(way, run_id)
    if run["state"] != "success":
        failed = [task["task_id"] for task in live.api.tasks(way, run_id) if task["state"] == "failed"]
        log = "\n".join(live.api.log(way, run_id, failed[0], 1)[-20:]) if failed else ""
        raise SystemExit(f"{way} has failed at {failed}:\n{log}")
    start, end = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    jobs = job_seconds(live, start, end)
    if way != "floor" and len(jobs) != STEPS:
        raise SystemExit(f"{way} ran {len(jobs)} jobs and should have run {STEPS}")
    return ((end - start).total_seconds() - sum(jobs)) / STEPS, sum(jobs) / STEPS


def job_seconds(live: LiveAirflow, start: datetime, end: datetime) -> list[float]:
    """The durations of the jobs created within a run; runs take turns, so they are its own."""
    sagemaker = live.client("sagemaker")
    listed = sagemaker.list_processing_jobs(CreationTimeAfter=start, CreationTimeBefore=end, MaxResults=100)
    durations = []
    for summary in listed["ProcessingJobSummaries"]:
        job = sagemaker.describe_processing_job(ProcessingJobName=summary["ProcessingJobName"])
        durations.append((job["ProcessingEndTime"] - job["CreationTime"]).total_seconds())
    return durations


def play(
    live: LiveAirflow, ways: list[str], rounds: int, added: dict[str, list[float]], own: dict[str, list[float]]
) -> None:
    for number in range(rounds):
        for way in ways:
            if way in SLOW and number:
                continue
            seconds, job = run_once(live, way)
            added.setdefault(way, []).append(seconds)
            own.setdefault(way, []).append(job)
            print(f"{way}: {rounded(seconds)} s added a step, jobs of {rounded(job)} s", file=sys.stderr, flush=True)


def measure(
    live: LiveAirflow, ways: list[str], rounds: int, folder: Path
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    added: dict[str, list[float]] = {}
    own: dict[str, list[float]] = {}
    deferred_peers = [way for way in ways if way.startswith("peer_deferred")]
    play(live, [way for way in ways if way not in deferred_peers], rounds, added, own)
    if deferred_peers:
        # The provider's triggers need aiobotocore: the triggerer changes hands.
        live.parts["triggerer"].kill()
        triggerer = Triggerer(peer.interpreter(), live.environment, folder / "peer", capacity=1000)
        since = datetime.now(UTC)
        triggerer.start()
        try:
            until(lambda: beats(live, since), 120, "the peer's triggerer is well")
            play(live, deferred_peers, rounds, added, own)
        finally:
            triggerer.stop()
    return (
        {way: Figure.of(values, "s") for way, values in added.items()},
        {way: Figure.of(values, "s") for way, values in own.items()},
    )


def beats(live: LiveAirflow, since: datetime) -> bool:
    """Whether a triggerer's heartbeat is later than `since`."""
    beat = live.api.call("GET", "/monitor/health")["triggerer"]["latest_triggerer_heartbeat"]
    return beat is not None and datetime.fromisoformat(beat) > since


def show(added: dict[str, Figure], own: dict[str, Figure]) -> None:
    print(f"added to each of {STEPS} steps, beyond the job's own duration; target: {TARGET} of the peer's")
    for way, figure in added.items():
        print(f"  {way:20} {figure}" + (f"; a job takes {rounded(own[way].median)} s" if way != "floor" else ""))
    for ours, theirs in COMPARED:
        if ours not in added or theirs not in added:
            continue
        share = added[ours].median / added[theirs].median
        print(f"  {ours} / {theirs}: {ratio(added[ours], added[theirs])}; {verdict(share, TARGET)}", end="")
        if "floor" in added:
            floor = added["floor"].median
            mine, peers = added[ours].median - floor, added[theirs].median - floor
            print(f"; above the floor {rounded(mine)} s against {rounded(peers)} s", end="")
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--job-seconds", type=float, default=0, help="how long each job sleeps")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS))
    options = parser.parse_args()
    if unknown := set(options.ways) - set(WAYS):
        parser.error(f"there is no way {sorted(unknown)}; there are {', '.join(WAYS)}")
    peer.interpreter()  # made before the clock runs
    with tempfile.TemporaryDirectory(prefix="millrace-orchestration-") as folder:
        live = LiveAirflow(Path(folder), [DAG_FILE], three_free_ports())
        live.environment["JOB_SECONDS"] = str(options.job_seconds)
        try:
            live.start()
            live.serve()
            added, own = measure(live, options.ways, options.rounds, Path(folder))
        finally:
            live.end()
    show(added, own)
    ways = {way: {"added": added[way].to_json(), "job": own[way].to_json()} for way in added}
    emit("orchestration", {"job_seconds": options.job_seconds, **ways})


if __name__ == "__main__":
    main()

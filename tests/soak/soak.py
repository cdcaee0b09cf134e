"""A soak: for a while, at random but by a seed, jobs and endpoints are created, changed, stopped and struck, objects are
written and deleted, and the runtime is killed and started again. Then the books are balanced: what was acknowledged is
there, nothing else is.

    python -m tests.soak.soak --seconds 1200 --seed 7

It stays on loopback, starts only a runtime of its own, and ends by itself. `draws.py` says what is drawn, `work.py` what the
jobs are, `books.py` what is remembered, `balance.py` and `endpoints.py` what must hold. What it does not do: it draws no
transform jobs, and its jobs need bubblewrap.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from millrace.runtime import fault_plan
from tests.runtime.jobs import Jobs
from tests.runtime.process import RuntimeProcess
from tests.soak.balance import Balance
from tests.soak.books import Books
from tests.soak.draws import FAULTS, FAULTS_AT_ONCE, KILLED_FIRST, Draw, draws
from tests.soak.endpoints import Endpoints
from tests.soak.work import CHANNEL_SETS, Work, channel_objects

MOST_ACTIVE = 12
REFUSED = (ClientError, BotoCoreError)


class Soak:
    """One soak on a runtime of its own. A method that the table of deeds names does that deed, with the dice it is given."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._seed = seed
        self._runtime = RuntimeProcess(folder / "runtime")
        self._books = Books()
        self._endpoints = Endpoints(self._books)

    def run(self, seconds: float) -> Counter[str]:
        """Soak, balance the books, and return how often each deed was done, and what the balance has seen.

        Raises:
            AssertionError: the books do not balance.
        """
        self._start()
        try:
            self._prepare()
            deadline = time.monotonic() + seconds
            for draw in draws(self._seed):
                if time.monotonic() >= deadline:
                    break
                getattr(self, draw.deed)(draw)
                self._books.done[draw.deed] += 1
            fault_plan.clear(self._runtime.data_dir)
            self._endpoints.balance(self._restart)
            Balance(self._runtime, self._books).strike()
        finally:
            fault_plan.clear(self._runtime.data_dir)
            self._runtime.end_everything()
        return self._books.done

    def create_job(self, draw: Draw) -> None:
        work = draw.job()
        if self._active() < MOST_ACTIVE:
            self._create(work)

    def stop_job(self, draw: Draw) -> None:
        recent = self._books.recent(MOST_ACTIVE)
        if not recent:
            return
        work = self._books.jobs[draw.dice.choice(recent)]
        try:
            getattr(self._jobs.sagemaker, f"stop_{work.api}_job")(**{f"{work.api.capitalize()}JobName": work.name})
        except REFUSED:
            return
        self._books.stopped.add(work.name)

    def put_object(self, draw: Draw) -> None:
        key = f"object-{draw.dice.randrange(40)}"
        body = draw.dice.randbytes(draw.dice.choice([0, 10, 5_000, 2_000_000]))
        self._books.objects.pop(key, None)
        try:
            self._jobs.s3.put_object(Bucket="bucket", Key=key, Body=body)
        except REFUSED:
            return
        self._books.objects[key] = hashlib.sha256(body).hexdigest()

    def delete_object(self, draw: Draw) -> None:
        if not self._books.objects:
            return
        key = draw.dice.choice(sorted(self._books.objects))
        self._books.objects.pop(key)
        try:
            self._jobs.s3.delete_object(Bucket="bucket", Key=key)
        except REFUSED:
            return
        self._books.objects[key] = None

    def update_pool(self, draw: Draw) -> None:
        """Keep some pool longer, or end it; it may go to another job meanwhile."""
        seconds = draw.dice.choice([0, 2, 900, 900])
        try:
            rows = self._jobs.sagemaker.list_training_jobs(WarmPoolStatusEquals="Available")["TrainingJobSummaries"]
        except REFUSED:
            return
        if not rows:
            return
        name = draw.dice.choice(rows)["TrainingJobName"]
        self._books.kept_alive.pop(name, None)
        try:
            self._jobs.sagemaker.update_training_job(
                TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": seconds}
            )
        except REFUSED:
            return
        if seconds:
            self._books.kept_alive[name] = seconds
        else:
            self._books.ended_pools.add(name)
            pool = self._jobs.sagemaker.describe_training_job(TrainingJobName=name)["WarmPoolStatus"]
            assert pool["Status"] == "Terminated", f"the pool of {name} was ended, and is {pool}"
        self._books.done["pool updated"] += 1

    def look_at_checkpoint(self, draw: Draw) -> None:
        """What is in S3 of a job that counts never goes back."""
        recent = self._books.recent(4, what="checkpoint")
        if not recent:
            return
        name = draw.dice.choice(recent)
        seen = self._books.counts.get(name, 0)
        try:
            count = int(self._jobs.s3.get_object(Bucket="bucket", Key=f"checkpoints/{name}/count")["Body"].read())
        except self._jobs.s3.exceptions.NoSuchKey:
            count = 0
        assert count >= seen, f"the checkpoint of {name} in S3 was at {seen}, and is at {count}"
        self._books.counts[name] = count

    def create_endpoint(self, draw: Draw) -> None:
        self._endpoints.create(f"soak-{draw.number:06}", draw.dice)

    def invoke_endpoint(self, draw: Draw) -> None:
        self._endpoints.invoke(draw.dice)

    def update_endpoint(self, draw: Draw) -> None:
        self._endpoints.update(draw.dice)

    def delete_endpoint(self, draw: Draw) -> None:
        self._endpoints.delete(draw.dice)

    def kill_server(self, draw: Draw) -> None:
        self._endpoints.kill_server(draw.dice)

    def kill_runtime(self, draw: Draw) -> None:
        """kill -9 of the front, or of another process of the runtime and the front, at any moment; then a new one."""
        first = draw.dice.choice(KILLED_FIRST)
        for process in self._runtime.find(first) if first else []:
            process.kill()
        self._restart(draw.dice.random())

    def plan_fault(self, draw: Draw) -> None:
        fault_plan.write(self._runtime.data_dir, [make() for make in draw.dice.sample(FAULTS, FAULTS_AT_ONCE)])

    def _prepare(self) -> None:
        self._jobs.s3.create_bucket(Bucket="bucket")
        for number in range(CHANNEL_SETS):
            for key, body in channel_objects(number).items():
                self._jobs.put(key, body)
        self._endpoints.prepare()

    def _start(self) -> None:
        self._runtime.start()
        self._jobs = Jobs(self._runtime)
        self._endpoints.connect(self._jobs)

    def _restart(self, pause: float = 0) -> None:
        self._runtime.kill()
        time.sleep(pause)
        self._start()

    def _create(self, work: Work) -> None:
        create = self._jobs.training if work.api == "training" else self._jobs.processing
        try:
            create(work.script, work.name, **work.request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUse":  # then a try whose answer was lost got through
                raise
        except BotoCoreError:
            self._books.unsure.add(work.name)
        self._books.jobs[work.name] = work
        self._books.done[f"{work.what} created"] += 1

    def _active(self) -> int:
        try:
            return sum(
                len(getattr(self._jobs.sagemaker, f"list_{kind}_jobs")(StatusEquals="InProgress", MaxResults=100)[rows])
                for kind, rows in (("processing", "ProcessingJobSummaries"), ("training", "TrainingJobSummaries"))
            )
        except REFUSED:
            return MOST_ACTIVE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:.0f} s", flush=True)  # noqa: T201
    folder = Path(tempfile.mkdtemp(prefix="millrace-soak-"))
    try:
        done = Soak(folder, options.seed).run(options.seconds)
    except BaseException:
        print(f"the data of the runtime is left in {folder}", file=sys.stderr)  # noqa: T201
        raise
    shutil.rmtree(folder)
    print("the books balance: " + ", ".join(f"{count} x {deed}" for deed, count in sorted(done.items())))  # noqa: T201


if __name__ == "__main__":
    main()

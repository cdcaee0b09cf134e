"""The runtime's S3: small objects, one gibibyte up and down, and what an upload costs the data plane.

    boto3 client    PUT and GET of 1 KiB, against a null server that keeps nothing: there the client is the limit
    raw client      the same against moto's server, which keeps objects in memory, with one client and with eight at
                    once; and against the bare disk: a file written, flushed and renamed and one SQLite commit, what a
                    PUT must have done before it is acknowledged
    1 GiB           PUT against a server that only receives, hashes and writes (and one that flushes too, as an
                    acknowledged PUT must); GET into a file against `cp`
    data plane      how late the router answers while 1 GiB is uploaded

The router is another process, so its loop's lag is measured from outside: the time from sending an invocation of an
endpoint that is not there to the router's own refusal (it asks no other process), on a kept connection, again 2 ms
after each answer. That is an upper bound but for those 2 ms: it also holds the request's own work and the wait for a
core, which the same probe of an idle null server, at the same time, shows by itself.

    python -m benchmarks.runtime_s3 [--operations 200] [--rounds 5] [--mebibytes 1024] [--large-rounds 3]
    python -m benchmarks.runtime_s3 --quick
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runtime.process import RuntimeProcess

from benchmarks import servers
from benchmarks.figures import Figure, emit, ratio, rounded, verdict
from benchmarks.floors import SMALL
from benchmarks.raw_http import RawClient

BUCKET = "benchmark"
INVOCATION = "/endpoints/not-there/invocations"
BOTO3_TARGET, MOTO_TARGET, PUT_TARGET, GET_TARGET, LAG_TARGET_MS = 1 / 0.7, 1 / 5, 1.3, 2.0, 20.0
"""As times: 70 % of the null server's rate, and 5 times moto's."""
MEBIBYTE = 1024 * 1024
PROBE_SECONDS = 0.002
IDLE_PROBES = 500
CLIENTS = 8
Results = dict[str, Figure]


def milliseconds(action: Callable[[int], object], count: int, rounds_done: int) -> float:
    """Of one of `count` calls, each with a number of its own."""
    first = rounds_done * count
    started = time.perf_counter()
    for number in range(first, first + count):
        action(number)
    return (time.perf_counter() - started) * 1000 / count


def in_turn(actions: Mapping[str, Callable[[int], object]], operations: int, rounds: int) -> Results:
    """Milliseconds of each action, one sample a round: a busy moment of the machine meets all of them."""
    for action in actions.values():  # connections, imports, first tables
        for number in range(5):
            action(-1 - number)
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for done in range(rounds):
        for name, action in actions.items():
            taken[name].append(milliseconds(action, operations, done))
    return {name: Figure.of(samples, "ms") for name, samples in taken.items()}


class BareDisk:
    """The durable write behind an acknowledged PUT, without a server: file, rename, two flushes, one commit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._index = sqlite3.connect(folder / "index.sqlite", isolation_level=None)
        self._index.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE objects (key, size)")

    def write(self, number: int) -> None:
        path = self._folder / f"object{number}"
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, SMALL)
        temporary.rename(path)
        os.fsync(descriptor)
        os.close(descriptor)
        flush_folder(self._folder)
        self._index.execute("INSERT INTO objects VALUES (?, ?)", (str(path), len(SMALL)))

    def close(self) -> None:
        self._index.close()


def flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def small_under_boto3(runtime_port: int, null_port: int, options: argparse.Namespace) -> Results:
    clients = {
        "Millrace": servers.boto3_client("s3", runtime_port),
        "null server": servers.boto3_client("s3", null_port),
    }
    actions: dict[str, Callable[[int], object]] = {}
    for name, client in clients.items():
        actions[f"boto3 PUT, {name}"] = _putting(client)
        actions[f"boto3 GET, {name}"] = _getting(client)
    return in_turn(actions, options.operations, options.rounds)


def _putting(client: Any) -> Callable[[int], object]:
    return lambda number: client.put_object(Bucket=BUCKET, Key=f"boto3/{number}", Body=SMALL)


def _getting(client: Any) -> Callable[[int], object]:
    return lambda number: client.get_object(Bucket=BUCKET, Key=f"boto3/{number}")["Body"].read()


def small_raw(runtime_port: int, moto_port: int, disk: BareDisk, options: argparse.Namespace) -> Results:
    actions: dict[str, Callable[[int], object]] = {}
    ports = {"Millrace": runtime_port, "moto": moto_port}
    clients = {name: RawClient(port, "s3") for name, port in ports.items()}
    for name, client in clients.items():
        actions[f"raw PUT, {name}"] = _sending(client, "PUT", SMALL)
        actions[f"raw GET, {name}"] = _sending(client, "GET", b"")
    results = in_turn({**actions, "durable write, bare disk": disk.write}, options.operations, options.rounds)
    for client in clients.values():
        client.close()
    return results | together(ports, options)


def together(ports: Mapping[str, int], options: argparse.Namespace) -> Results:
    """Milliseconds a call when several clients ask at once; the time is that of all calls, divided by their number."""
    taken: dict[str, list[float]] = {}
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in range(options.rounds):
            for name, port in ports.items():
                clients = [RawClient(port, "s3") for _ in range(CLIENTS)]
                for method, body in (("PUT", SMALL), ("GET", b"")):
                    started = time.perf_counter()
                    list(pool.map(lambda c: _ask_often(*c), [(c, method, body, n, done, options.operations)
                                                             for n, c in enumerate(clients)]))  # fmt: skip
                    elapsed = (time.perf_counter() - started) * 1000 / (CLIENTS * options.operations)
                    taken.setdefault(f"raw {method}, {CLIENTS} clients, {name}", []).append(elapsed)
                for client in clients:
                    client.close()
    return {name: Figure.of(samples, "ms") for name, samples in taken.items()}


def _ask_often(client: RawClient, method: str, body: bytes, who: int, done: int, operations: int) -> None:
    for number in range(operations):
        client.expect(method, f"/{BUCKET}/together/{done}/{who}/{number}", body)


def _sending(client: RawClient, method: str, body: bytes) -> Callable[[int], object]:
    return lambda number: client.expect(method, f"/{BUCKET}/raw/{number}", body)


def make_file(path: Path, size: int) -> str:
    """A file of random bytes, repeated each MiB, and its MD5."""
    block = os.urandom(MEBIBYTE)
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("wb") as stream:
        for _ in range(size // MEBIBYTE):
            stream.write(block)
            digest.update(block)
    return digest.hexdigest()


def seconds(action: Callable[[], object]) -> float:
    """Of one action, when nothing of an earlier one is left to be written."""
    os.sync()
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def large(runtime_port: int, folder: Path, source: Path, digest: str, options: argparse.Namespace) -> Results:
    """Up and down; what a round leaves behind is removed before the next."""
    scratch, copy = folder / "received", folder / "copy"
    runtime = RawClient(runtime_port, "s3")
    boto3_s3 = servers.boto3_client("s3", runtime_port)
    path = f"/{BUCKET}/large"
    taken: dict[str, list[float]] = {}

    def sample(name: str, action: Callable[[], object]) -> None:
        taken.setdefault(name, []).append(seconds(action))

    with (
        servers.floor("receive", "--file", str(scratch)) as writes,
        servers.floor("receive", "--file", str(scratch), "--flush") as flushes,
    ):
        floors = {
            "receive, hash, write": RawClient(writes, "s3"),
            "receive, hash, write, flush": RawClient(flushes, "s3"),
        }
        for _ in range(options.large_rounds):
            for name, client in floors.items():
                sample(f"PUT, {name}", lambda client=client: client.upload(path, source))  # type: ignore[misc]
                scratch.unlink()
            sample("PUT, Millrace", lambda: runtime.upload(path, source))
            etag = boto3_s3.head_object(Bucket=BUCKET, Key="large")["ETag"]
            assert etag == f'"{digest}"', f"the runtime stored {etag}, and the file's MD5 is {digest}"
            sample("file copy (cp)", lambda: subprocess.run(["cp", str(source), str(copy)], check=True))
            copy.unlink()
            sample("GET, Millrace", lambda: runtime.download(path, copy))
            assert copy.stat().st_size == source.stat().st_size
            copy.unlink()
            sample("boto3 upload_file, Millrace", lambda: boto3_s3.upload_file(str(source), BUCKET, "large-parts"))
            sample("boto3 download_file, Millrace", lambda: boto3_s3.download_file(BUCKET, "large-parts", str(copy)))
            copy.unlink()
            boto3_s3.delete_object(Bucket=BUCKET, Key="large-parts")
        for client in (*floors.values(), runtime):
            client.close()
    return {name: Figure.of(samples, "s") for name, samples in taken.items()}


@dataclass(frozen=True, slots=True)
class Probe:
    """A small request that one process answers by itself, and the status of its answer."""

    name: str
    port: int
    method: str
    path: str
    status: int

    def latencies(self, is_over: Callable[[int], bool]) -> list[float]:
        """Milliseconds until each answer, with 2 ms of rest between two, until it is over."""
        taken: list[float] = []
        with RawClient(self.port, "s3") as client:  # kept: a connection belongs to the process of its first request
            while not is_over(len(taken)):
                started = time.perf_counter()
                answer = client.call(self.method, self.path)
                taken.append((time.perf_counter() - started) * 1000)
                assert answer.status == self.status, f"{self.name} answers {answer.status}: {answer.body[:200]!r}"
                time.sleep(PROBE_SECONDS)
        return taken


def lag(runtime_port: int, null_port: int, source: Path, rounds: int) -> Results:
    """Latencies at rest and during uploads, every single one a sample; a thread for each probe, and none waits."""
    probes = (
        Probe("data plane (router)", runtime_port, "POST", INVOCATION, 400),
        Probe("null server", null_port, "GET", "/", 200),
        Probe("control plane", runtime_port, "GET", f"/{BUCKET}/small", 200),
    )
    with RawClient(runtime_port, "s3") as client:
        client.expect("PUT", f"/{BUCKET}/small", SMALL)
    taken: dict[str, list[float]] = {}

    def watch(pool: ThreadPoolExecutor, when: str, is_over: Callable[[int], bool]) -> None:
        watching = {probe.name: pool.submit(probe.latencies, is_over) for probe in probes}
        for name, work in watching.items():
            # The first holds the connection's way through the front.
            taken.setdefault(f"{name}, {when}", []).extend(work.result()[1:])

    with ThreadPoolExecutor(len(probes) + 1) as pool:
        watch(pool, "at rest", lambda count: count > IDLE_PROBES)
        for _ in range(rounds):
            os.sync()
            with RawClient(runtime_port, "s3") as client:
                # sendfile: while the kernel sends, no other thread waits for this one.
                upload = pool.submit(client.upload, f"/{BUCKET}/large", source)
                watch(pool, "during an upload", lambda count, upload=upload: count > 1 and upload.done())  # type: ignore[misc]
                upload.result()
    return {name: Figure.of(samples, "ms") for name, samples in taken.items()}


def show_small(small: Results) -> None:
    print("objects of 1 KiB, milliseconds a call; one client unless said")
    show(small)
    comparisons = [(f"boto3 {method}", "null server", BOTO3_TARGET) for method in ("PUT", "GET")]
    comparisons += [
        (f"raw {method}{many}", "moto", MOTO_TARGET)
        for many in ("", f", {CLIENTS} clients")
        for method in ("PUT", "GET")
    ]
    for what, peer, target in comparisons:
        ours, theirs = small[f"{what}, Millrace"], small[f"{what}, {peer}"]
        rate, held = rounded(theirs.median / ours.median), verdict(ours.median / theirs.median, target)
        print(f"  {what}: Millrace / {peer}: {ratio(ours, theirs)} of its time, {rate}x its rate; {held}")
    disk, null = small["durable write, bare disk"], small["boto3 PUT, null server"]
    durable = Figure.of([disk.median + null.median], "ms")
    print(f"  raw PUT: Millrace / the bare disk's durable write: {ratio(small['raw PUT, Millrace'], disk)}")
    added = ratio(small["boto3 PUT, Millrace"], durable)
    print(f"  boto3 PUT: Millrace / null server and durable write together: {added}")
    print(f"  boto3 PUT: null server and durable write together / null server: {ratio(durable, null)}")


def show_large(results: Results, mebibytes: int) -> None:
    print(f"one object of {mebibytes} MiB, raw client")
    show(results)
    put, floor = results["PUT, Millrace"], results["PUT, receive, hash, write"]
    print(
        f"  PUT: Millrace / receive, hash, write: {ratio(put, floor)}; {verdict(put.median / floor.median, PUT_TARGET)}"
    )
    flushed = results["PUT, receive, hash, write, flush"]
    print(f"  PUT: Millrace / the same with a flush, as Millrace has one: {ratio(put, flushed)}")
    get, copy = results["GET, Millrace"], results["file copy (cp)"]
    print(f"  GET: Millrace / file copy: {ratio(get, copy)}; {verdict(get.median / copy.median, GET_TARGET)}")


def show_lag(results: Results, mebibytes: int) -> None:
    print(f"milliseconds from a request to its answer, at rest and during a PUT of {mebibytes} MiB")
    show(results, percentile=True)
    router, null = results["data plane (router), during an upload"], results["null server, during an upload"]
    print(f"  data plane: worst {rounded(router.spread[1])} ms; {verdict(router.spread[1], LAG_TARGET_MS)} "
          f"(a null server, that no upload reaches: worst {rounded(null.spread[1])} ms)")  # fmt: skip


def show(results: Results, *, percentile: bool = False) -> None:
    for name, figure in results.items():
        tail = ""
        if percentile:
            tail = f", 99th percentile {rounded(statistics.quantiles(figure.samples, n=100, method='inclusive')[98])}"
        print(f"  {name:40} {figure}{tail}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=200, help="calls a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--large-rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="does it run at all: some seconds, figures of no worth")
    options = parser.parse_args()
    if options.quick:
        options.operations, options.rounds, options.mebibytes, options.large_rounds = 20, 2, 32, 1
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-s3-")))
        runtime = RuntimeProcess(folder / "runtime")
        runtime.start()
        stack.callback(runtime.stop)
        null, moto = stack.enter_context(servers.floor("null")), stack.enter_context(servers.moto())
        for port in (runtime.port, moto):
            with RawClient(port, "s3") as client:
                client.expect("PUT", f"/{BUCKET}")
        disk = BareDisk(folder / "disk")
        stack.callback(disk.close)
        small = small_under_boto3(runtime.port, null, options) | small_raw(runtime.port, moto, disk, options)
        show_small(small)
        source = folder / "source"
        digest = make_file(source, options.mebibytes * MEBIBYTE)
        big = large(runtime.port, folder, source, digest, options)
        show_large(big, options.mebibytes)
        late = lag(runtime.port, null, source, options.large_rounds)
        show_lag(late, options.mebibytes)
    emit("runtime_s3", {"mebibytes": options.mebibytes, **small, **big, **late})


if __name__ == "__main__":
    main()

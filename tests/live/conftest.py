"""One live Airflow for all cases of the kill matrix, and the way that cases which disturb nobody are played at once.

A test marked `together` kills only what is its own: all of them run at the same time, in threads, when the first of
them is called. A test without the mark takes a part of Airflow or the runtime down: it has the stack to itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from tests.live import matrix
from tests.live.matrix import Case, Row
from tests.live.stack import LiveAirflow
from tests.runtime.process import three_free_ports

AT_ONCE = 6
DAGS = Path(__file__).with_name("dags")
DOCUMENT = "MILLRACE_KILL_MATRIX"
PLAYED = pytest.StashKey[dict[str, "Future[Row]"]]()
ROWS = pytest.StashKey[dict[str, Row]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "together: a case of the kill matrix that disturbs no other")


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAirflow]:
    stack = LiveAirflow(tmp_path_factory.mktemp("live"), sorted(DAGS.glob("*.py")), three_free_ports())
    try:
        stack.start()
        stack.serve()
        yield stack
        active = stack.client("sagemaker").list_processing_jobs(StatusEquals="InProgress")["ProcessingJobSummaries"]
        assert not active, f"jobs are left running: {active}"
    finally:
        stack.end()


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return _case(request.node)


def _case(item: pytest.Function) -> Case:
    variant = item.callspec.id if hasattr(item, "callspec") else ""
    return Case(item.function, variant)


def _is_live(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "case" in item.fixturenames and "live" in item.fixturenames


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Play a case, record its row, and fail as it failed."""
    if not _is_live(pyfuncitem):
        return None
    stash = pyfuncitem.session.stash
    played = stash.setdefault(PLAYED, {})
    if pyfuncitem.get_closest_marker("together") is None:
        wait(played.values())
        arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        try:
            row = _play(pyfuncitem.function, arguments)
        except (Exception, pytest.fail.Exception):
            arguments["live"].recover()
            raise
    else:
        if not played:
            _play_together(pyfuncitem, played)
        row = played[pyfuncitem.nodeid].result()
    stash.setdefault(ROWS, {})[pyfuncitem.nodeid] = row
    return True


def _play_together(first: pytest.Function, played: dict[str, Future[Row]]) -> None:
    pool = ThreadPoolExecutor(AT_ONCE)
    for item in first.session.items:
        if isinstance(item, pytest.Function) and _is_live(item) and item.get_closest_marker("together"):
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            arguments = {"live": first.funcargs["live"], "case": item, **parameters}
            played[item.nodeid] = pool.submit(_play, item.function, arguments)
    pool.shutdown(wait=False)


def _play(test: Any, arguments: dict[str, Any]) -> Row:
    case = arguments["case"]
    if isinstance(case, pytest.Function):  # made here, so that its clock starts when it is played
        case = _case(case)
    test(**{**arguments, "case": case})
    row: Row = case.row()
    return row


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write what was seen into the document that the environment names, unless something failed."""
    rows = session.stash.get(ROWS, {})
    document = os.environ.get(DOCUMENT)
    if document and rows and exitstatus == pytest.ExitCode.OK:
        matrix.write(Path(document), rows.values())

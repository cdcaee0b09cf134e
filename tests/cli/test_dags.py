"""Waiting for DAGs that Airflow has yet to parse."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from millrace.cli.airflow_api import AirflowApi
from millrace.cli.dags import DagNotFound, await_dags
from millrace.cli.layout import Layout


@dataclass
class Parsing:
    """An Airflow that parses one more file each time it is asked for its DAGs."""

    files: list[tuple[str, str]]
    errors: dict[str, str] = field(default_factory=dict)
    unpaused: list[str] = field(default_factory=list)
    parsed: int = 0

    def dag_files(self) -> dict[str, str]:
        self.parsed += 1
        return dict(self.files[: self.parsed - 1])

    def import_errors(self) -> dict[str, str]:
        return self.errors

    def unpause(self, dag_id: str) -> None:
        assert dag_id in dict(self.files[: self.parsed - 1])
        self.unpaused.append(dag_id)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.py", "b.py", "below/c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_dag_is_unpaused_once_its_file_is_parsed_whatever_the_others_do(folder: Path) -> None:
    airflow = Parsing([("first", "a.py"), ("second", "below/c.py")], errors={"b.py": "SyntaxError"})
    told: list[str] = []
    await_dags(airflow, folder, ["second"], say=told.append)
    assert airflow.unpaused == ["second"]
    assert airflow.parsed == 3
    assert told == ["waiting for Airflow to parse second"]


def test_a_dag_that_no_file_has_is_refused_as_soon_as_all_are_parsed(folder: Path) -> None:
    airflow = Parsing([("first", "a.py"), ("second", "b.py"), ("third", "below/c.py")])
    with pytest.raises(DagNotFound, match="no DAG frist; it has first, second, third") as refused:
        await_dags(airflow, folder, ["frist", "first"])
    assert "do not parse" not in str(refused.value)
    assert "every 30 s" in str(refused.value)
    assert airflow.unpaused == []


def test_a_file_that_does_not_parse_is_shown_to_who_misses_its_dag(folder: Path) -> None:
    airflow = Parsing([("first", "a.py"), ("third", "below/c.py")], errors={"b.py": "SyntaxError: line 3"})
    with pytest.raises(DagNotFound, match=r"(?s)no DAG second; it has first, third.*b\.py:\nSyntaxError: line 3"):
        await_dags(airflow, folder, ["second"])


def test_a_file_that_holds_no_dag_ends_the_wait_by_the_clock(folder: Path) -> None:
    airflow = Parsing([("first", "a.py"), ("second", "b.py")])
    with pytest.raises(DagNotFound, match="no DAG third; it has none"):
        await_dags(airflow, folder, ["third"], seconds=0)


class Growing(AirflowApi):
    """An Airflow that finds one more DAG, which comes first in the order, between the first page and the second."""

    def __init__(self, folder: Path) -> None:
        (folder / "dags").mkdir()
        super().__init__(Layout(project=folder, state=folder))
        self.dags = ["digits_training"]

    def call(self, method: str, path: str, body: object = None) -> Any:
        offset = int(parse_qs(urlsplit(path).query)["offset"][0])
        page = [{"dag_id": dag_id, "relative_fileloc": f"{dag_id}.py"} for dag_id in self.dags[offset : offset + 100]]
        self.dags = ["digits_monitoring", "digits_training"]
        return {"dags": page}


def test_dags_that_come_between_two_pages_are_known_at_the_next_look(tmp_path: Path) -> None:
    airflow = Growing(tmp_path)
    assert airflow.dag_files() == {"digits_training": "digits_training.py"}
    assert airflow.dag_files().keys() == {"digits_monitoring", "digits_training"}

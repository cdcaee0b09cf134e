"""A job's process neither imports pandas nor starts threads for sums, and still gets both where it asks for them."""

import json
import os
import subprocess
import sys
from typing import Any

SEEN = """
import json, os, sys
from millrace.profiling.lean_start import lean_start
lean_start()
import pyarrow as pa, pyarrow.compute as pc
table = pa.table({"x": pa.array([1, 2])})
pc.greater(table["x"], 1)
before = "pandas" in sys.modules
from threadpoolctl import threadpool_info
frame = table.to_pandas()
print(json.dumps({
    "before": before, "frame": type(frame).__module__, "back": pa.array(frame["x"]).to_pylist(),
    "threads": [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"],
    "finders": [type(finder).__name__ for finder in sys.meta_path],
}))
"""


def seen(**environment: str) -> dict[str, Any]:
    inherited = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    found = subprocess.run(
        [sys.executable, "-c", SEEN], env={**inherited, **environment}, capture_output=True, text=True, check=True
    )
    return dict(json.loads(found.stdout))


def test_arrow_works_without_pandas_and_gives_frames_to_who_asks() -> None:
    found = seen()
    assert not found["before"]
    assert found["frame"].startswith("pandas")
    assert found["back"] == [1, 2]
    assert "_NoPandas" not in found["finders"]


def test_sums_take_one_thread_unless_the_environment_says_otherwise() -> None:
    assert set(seen()["threads"]) == {1}
    assert set(seen(OPENBLAS_NUM_THREADS="2")["threads"]) == {2}

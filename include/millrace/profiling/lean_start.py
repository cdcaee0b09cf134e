"""What the process of a job does first, so that it starts soon and keeps no core busy that it gains nothing by.

Two libraries do more than a pass over columns needs. Arrow imports pandas for the first array or number that it is given,
whoever gives it, which takes longer than most gates. OpenBLAS has a thread on every core wait for the next sum in a busy
loop, and the sums here are too small to be shared.

What it does not do: `import pandas` and `Table.to_pandas` work as ever, and OPENBLAS_NUM_THREADS is left as it is where it
is set. One thing it does take away: until something is converted to or from a DataFrame, `pa.array` takes a pandas Series
for a plain sequence, whose NaN is no missing value.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import MetaPathFinder


class _NoPandas(MetaPathFinder):
    """Says of pandas that it is not installed, and nothing of any other module."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not looked for yet", name=name)


def lean_start() -> None:
    """Call it before numpy and pandas are imported; what is imported already stays as it is.

    Arrow looks for pandas once, and goes on without where there is none: so it is made to look now, and finds none. It looks
    again when something is converted to or from a DataFrame.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import pyarrow as pa  # here, because it imports numpy

    hiding = _NoPandas()
    sys.meta_path.insert(0, hiding)
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(hiding)

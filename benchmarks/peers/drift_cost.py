"""One drift report of Evidently or NannyML in the peers' own environment: `python drift_cost.py evidently|nannyml FOLDER`.

FOLDER holds `reference/rows.parquet` and `current/rows.parquet`. What the two say is not kept: it is the cost that counts.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pandas as pd


def main() -> None:
    warnings.simplefilter("ignore")
    way, folder = sys.argv[1], Path(sys.argv[2])
    if way == "evidently":
        from evidently import Report
        from evidently.presets import DataDriftPreset

        reference, current = (pd.read_parquet(folder / side / "rows.parquet") for side in ("reference", "current"))
        Report([DataDriftPreset()]).run(current, reference).dict()
        return
    import nannyml

    reference, current = (pd.read_parquet(folder / side / "rows.parquet") for side in ("reference", "current"))
    rows = max(1, len(reference) // 10)
    nannyml.UnivariateDriftCalculator(column_names=list(reference.columns), chunk_size=rows).fit(reference).calculate(
        current
    )


if __name__ == "__main__":
    main()

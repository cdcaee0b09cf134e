"""Evidently's and NannyML's answers to windows of rows, in the peers' own environment: `python drift_detectors.py FOLDER`.

FOLDER holds `reference.parquet` and `windows.parquet`, whose column `window` numbers the windows. For each of them both
tools say, as they come, which columns have drifted; the last line on standard output is
`{"evidently": [[column, …], …], "nannyml": […]}`.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import nannyml
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset


def evidently(window: Any, reference: Any) -> list[str]:
    """The columns whose drift is found by the preset's own choice of method and threshold."""
    found = []
    for metric in Report([DataDriftPreset()]).run(window, reference).dict()["metrics"]:
        config = metric["config"]
        if config["type"] == "evidently:metric_v2:ValueDrift":
            value, threshold = float(metric["value"]), float(config["threshold"])
            is_p_value = "p_value" in config["method"]
            if value < threshold if is_p_value else value >= threshold:
                found.append(config["column"])
    return found


def nannyml_calculator(reference: Any, rows: int) -> Any:
    """Jensen-Shannon, with thresholds of three standard deviations over the reference's own chunks: its defaults."""
    calculator = nannyml.UnivariateDriftCalculator(column_names=list(reference.columns), chunk_size=rows)
    return calculator.fit(reference)


def nannyml_alerts(calculator: Any, window: Any) -> list[str]:
    table = calculator.calculate(window).filter(period="analysis").to_df()
    # Columns of the table are (column, method, figure) triples.
    return [name[0] for name in table.columns if name[-1] == "alert" and bool(table[name].any())]


def main() -> None:
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    reference = pd.read_parquet(folder / "reference.parquet")
    windows = pd.read_parquet(folder / "windows.parquet")
    calculator = nannyml_calculator(reference, int(windows["window"].value_counts().iloc[0]))
    answers: dict[str, list[list[str]]] = {"evidently": [], "nannyml": []}
    for _, window in windows.groupby("window", sort=True):
        rows = window.drop(columns="window").reset_index(drop=True)
        answers["evidently"].append(evidently(rows, reference))
        answers["nannyml"].append(nannyml_alerts(calculator, rows))
    print(json.dumps(answers))


if __name__ == "__main__":
    main()

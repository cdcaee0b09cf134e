"""Champion against challenger on labelled loans that neither was trained on, by the very handlers that score the nights.

Writes verdict.json: passed when the challenger is surely not worse than the champion by more than the margin.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
from pathlib import Path

import numpy as np

from millrace.job_exit import InputError, exit_status
from millrace.monitoring.challenge import compare
from millrace.profiling.table import read_table
from millrace.verdict import Verdict
from pipelines.lending.jobs.scorecard import Floats, Scorecard
from pipelines.lending.settings import FEATURES, LABEL


def scorecard(folder: Path) -> Scorecard | None:
    """The model in the archive under a folder; None where there is no folder.

    Raises:
        InputError: there is not one archive, or it holds no scorecard.
    """
    if not folder.is_dir():
        return None
    archives = sorted(folder.rglob("*.tar.gz"))
    if len(archives) != 1:
        raise InputError(f"{folder} holds {len(archives)} model archives; it must be one")
    unpacked = Path("unpacked", folder.name)
    try:
        with tarfile.open(archives[0]) as archive:
            archive.extractall(unpacked, filter="data")
        return Scorecard.read(unpacked)
    except (tarfile.TarError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{archives[0]} holds no scorecard: {error!r}") from error


def judge(labels: np.ndarray, champion: Floats | None, challenger: Floats, margin: float) -> Verdict:
    """The verdict on two sets of scores of the same loans."""
    found = compare(labels, challenger if champion is None else champion, challenger)
    metrics = {"auc": found.challenger, "rows": found.rows, "positives": found.positives}
    if champion is None:
        summary = f"The AUC is {found.challenger:.3f} on {found.rows} loans; there is no champion yet."
        return Verdict(gate="challenge", passed=True, summary=summary, metrics=metrics)
    won = found.low > -margin
    metrics |= {"champion_auc": found.champion, "difference_low": found.low, "difference_high": found.high}
    summary = (
        f"The challenger's AUC is {found.challenger:.3f}, the champion's {found.champion:.3f} on the same {found.rows} "
        f"fresh loans; the difference is between {found.low:+.3f} and {found.high:+.3f} (95 %), "
        + (
            "which is better."
            if won and margin == 0
            else "which is good enough."
            if won
            else "which is not surely better."
        )
    )
    return Verdict(gate="challenge", passed=won, summary=summary, metrics=metrics)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--margin", type=float, default=0.0)
    options = parser.parse_args()

    def challenge() -> None:
        loans = read_table(Path("input/data"), (*FEATURES, LABEL))
        rows = loans[list(FEATURES)].to_numpy(dtype=object)
        champion, challenger = (scorecard(Path("input", name)) for name in ("champion", "challenger"))
        if challenger is None:
            raise InputError("there is no challenger under input/challenger")
        labels = loans[LABEL].to_numpy(dtype=bool)
        scores = None if champion is None else champion.probabilities(rows)
        verdict = judge(labels, scores, challenger.probabilities(rows), options.margin)
        verdict.write(Path("output/challenge"))
        print(verdict.summary, flush=True)

    return exit_status(challenge)


if __name__ == "__main__":
    sys.exit(main())

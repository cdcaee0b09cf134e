"""Train the scorecard: a logistic regression on standardised numbers and one column for each category.

Leaves in /opt/ml/model: scorecard.json (the weights; no pickle), and code/ (the handlers that serve it).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from sklearn.linear_model import LogisticRegression

from millrace.profiling.table import read_table
from millrace.training.environment import TrainingEnvironment
from pipelines.lending.jobs.scorecard import Scorecard, matrix, scales
from pipelines.lending.settings import FEATURES, LABEL


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regularization", type=float, default=1.0, help="C of scikit-learn's LogisticRegression")
    options = parser.parse_args()
    environment = TrainingEnvironment.load()
    loans = read_table(environment.channel("train"), (*FEATURES, LABEL))
    rows = loans[list(FEATURES)].to_numpy(dtype=object)
    means, deviations = scales(rows)
    model = LogisticRegression(C=options.regularization, max_iter=1000)
    model.fit(matrix(rows, means, deviations), loans[LABEL].to_numpy(dtype=bool))
    card = Scorecard(means, deviations, model.coef_[0], float(model.intercept_[0]))
    card.write(environment.model_dir)
    here = Path(__file__).resolve().parent
    package = environment.model_dir / "code/pipelines/lending"
    (package / "jobs").mkdir(parents=True)
    shutil.copy(here / "inference.py", environment.model_dir / "code/inference.py")
    shutil.copy(here / "scorecard.py", package / "jobs/scorecard.py")
    shutil.copy(here.parent / "settings.py", package / "settings.py")
    print(f"trained on {len(loans)} loans, {loans[LABEL].mean():.1%} of them defaulted", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

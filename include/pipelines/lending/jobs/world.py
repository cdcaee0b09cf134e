"""The generated world of loan applications: any day of it can be made again, alone and in any order.

Nobody's data is in it. On CHANGE the world changes: more people are self-employed, incomes fall, debts rise, and what used
to tell a good loan from a bad one does so no longer. On BROKEN a delivery comes half broken. Whether a loan defaulted is
known LABEL_DELAY after the application.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from pipelines.lending.settings import EMPLOYMENTS, FEATURES, ID, LABEL, REGIONS

SEED = 20260101
ROWS_A_DAY = 1500
PAST_DAYS = 10
BROKEN = date(2026, 1, 6)
CHANGE = date(2026, 1, 12)
LABEL_DELAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Economy:
    """What the applications of a day are drawn from, and what makes a loan default."""

    employments: tuple[float, ...]
    """Shares, in the order of EMPLOYMENTS."""
    income: float
    """The median, in euros a year."""
    debt: float
    """The mean of debts as a share of income."""
    risk_of_debt: float
    risk_of_amount: float
    worth_of_history: float
    risk_of_employment: tuple[float, ...]
    """In the order of EMPLOYMENTS, added to the log odds."""


CALM = Economy((0.68, 0.12, 0.14, 0.06), 34_000, 0.28, 3.0, 0.9, 0.5, (0.0, 0.3, -0.4, 0.7))
CRISIS = Economy((0.52, 0.30, 0.13, 0.05), 27_000, 0.40, 3.6, 0.2, -0.1, (0.0, 1.6, 0.9, -0.6))


def day(when: date, rows: int = ROWS_A_DAY) -> pd.DataFrame:
    """The applications of a day, whole and labelled: id, features and whether the loan defaulted."""
    economy = CRISIS if when >= CHANGE else CALM
    dice = np.random.default_rng([SEED, when.toordinal()])
    employment = dice.choice(len(EMPLOYMENTS), size=rows, p=economy.employments)
    income = economy.income * np.exp(0.45 * dice.normal(size=rows))
    amount = 9_000 * np.exp(0.5 * dice.normal(size=rows))
    debt = dice.beta(4 * economy.debt / (1 - economy.debt), 4, size=rows)
    history = dice.gamma(2.0, 40.0, size=rows).round()
    log_odds = (
        -2.5
        + economy.risk_of_debt * debt
        + economy.risk_of_amount * np.log(amount / (0.3 * income))
        - economy.worth_of_history * np.log1p(history / 24)
        + np.take(economy.risk_of_employment, employment)
    )
    return pd.DataFrame(
        {
            ID: [f"{when:%Y%m%d}-{number:05d}" for number in range(rows)],
            "income": income.round(2),
            "amount": amount.round(2),
            "debt_ratio": debt.round(4),
            "history_months": history.astype(int),
            "employment": np.take(EMPLOYMENTS, employment),
            "region": dice.choice(REGIONS, size=rows, p=(0.4, 0.3, 0.2, 0.1)),
            LABEL: dice.random(rows) < 1 / (1 + np.exp(-log_odds)),
        }
    )


def delivery(when: date) -> str:
    """The CSV file that is delivered on a day, without labels; on BROKEN a good third of its rows is unusable."""
    frame = day(when)[[ID, *FEATURES]]
    if when == BROKEN:
        frame = _broken(frame)
    text = frame.to_csv(index=False)
    if when == BROKEN:
        lines = text.splitlines()
        lines[100:110] = [line + ",7,7" for line in lines[100:110]]  # cells that belong to no column
        text = "\n".join(lines) + "\n"
    return text


def _broken(frame: pd.DataFrame) -> pd.DataFrame:
    """An export that lost signs, digits and a code table."""
    broken = frame.copy()
    broken.loc[200:399, "income"] *= -1
    broken.loc[400:549, "debt_ratio"] *= 100
    broken.loc[550:699, "region"] = "4711"
    broken.loc[700:729, "amount"] = np.nan
    return broken


def labels(first: date, last: date, known_on: date) -> pd.DataFrame:
    """Which loans of these days have defaulted, as far as it is known on a day: id and label."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    frames = [day(when)[[ID, LABEL]] for when in days if when + LABEL_DELAY <= known_on]
    return pd.concat(frames, ignore_index=True) if frames else day(first)[[ID, LABEL]].iloc[:0]


def applied_on(application: str) -> date:
    """The day of an application, by its id."""
    return date.fromisoformat(f"{application[:4]}-{application[4:6]}-{application[6:8]}")

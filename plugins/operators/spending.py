"""What a step may cost and has cost, on the run's ledger in S3: reserved before the job is asked for, settled when it ends.

With `max_cost` the ledger decides; without it keeping the account is a service, and no task fails for want of it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from millrace.sagemaker import cost, ledger
from millrace.sagemaker.ledger import EntryKey
from millrace.sagemaker.prices import Prices
from operators.failures import MayBeAffordableLater, TooExpensive

log = logging.getLogger(__name__)
NO_LIMIT = frozenset({"", "none", "null"})


def limit_of(max_cost: Any) -> str | float | None:
    """A rendered `max_cost`: a template that renders to nothing is no limit."""
    return None if max_cost is None or str(max_cost).strip().lower() in NO_LIMIT else max_cost


def reserve(
    s3: Any, bucket: str, whose: EntryKey, request: Mapping[str, Any], max_cost: Any, timeout: timedelta
) -> None:
    """Enter what the job may cost at most.

    Raises:
        TooExpensive: with it the run could pass its `max_cost`.
        MayBeAffordableLater: as well, but steps that are running may give back what they do not use; or the ledger cannot
            be reached.
    """
    limit = limit_of(max_cost)
    prices = Prices.from_environment()
    try:
        ledger.reserve(s3, bucket, whose, cost.ceiling(whose.kind, request, prices, timeout), limit, prices)
    except ledger.MaxCostError as error:
        raise (MayBeAffordableLater if error.may_pass_later else TooExpensive)(str(error)) from error
    except (ValueError, ledger.LedgerError) as error:
        if limit is not None:
            raise TooExpensive(f"max_cost is {limit}, and the run's ledger cannot be trusted: {error}") from error
        log.warning("what this job may cost was not entered: %s", error)
    except Exception as error:
        if limit is not None:
            raise MayBeAffordableLater(f"max_cost is {limit}, and the run's ledger cannot be kept: {error}") from error
        log.warning("what this job may cost was not entered: %s", error)


def withdraw(s3: Any, bucket: str, whose: EntryKey) -> None:
    """Take back what was reserved for a job that SageMaker has refused."""
    try:
        ledger.withdraw(s3, bucket, whose)
    except Exception as error:
        log.warning("what was reserved for a refused job was not taken back: %s", error)


def settle(s3: Any, bucket: str, whose: EntryKey, description: Mapping[str, Any]) -> dict[str, Any]:
    """Enter what the job has cost; returns `billable_seconds` and `estimated_usd` (None: there is no price)."""
    estimate = cost.estimate(whose.kind, description, Prices.from_environment())
    try:
        ledger.settle(s3, bucket, whose, estimate)
    except Exception as error:
        log.warning("what this job has cost was not entered: %s", error)
    if estimate.usd is None:
        log.info("%s billable seconds; no price: %s", estimate.instance_seconds, estimate.why_unknown)
    else:
        shown = cost.shown(estimate.usd)
        log.info("%s billable instance-seconds of %s, estimated at %s", estimate.instance_seconds,
                 estimate.instance_type, shown)  # fmt: skip
    usd = None if estimate.usd is None else float(estimate.usd)
    return {"billable_seconds": estimate.instance_seconds, "estimated_usd": usd}

"""What an instance costs an hour: the table that ships with the project, and a table of one's own laid over it.

`prices.json` is dated, and says what its figures were checked against. MILLRACE_PRICES may name a JSON file of the same
shape with the prices of another region, or with a discount; a type that neither has is without a price, never free. What
it does not do: it asks AWS nothing.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from . import preflight

SHIPPED = Path(__file__).with_name("prices.json")
VARIABLE = "MILLRACE_PRICES"
CURRENCY = "USD"
UNIT = "per instance-hour"
HOSTING = "hosting"
ENUMERATIONS: Mapping[str, str] = {
    "training": "TrainingInstanceType",
    "processing": "ProcessingInstanceType",
    "transform": "TransformInstanceType",
    HOSTING: "ProductionVariantInstanceType",
}
"""What has a price, and the constraint table's name of its instance types."""
AS_OF = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}")
MAX_BYTES = 1024 * 1024
MAX_PRICE = Decimal(10_000)
"""US dollars an hour: ten times the dearest instance there is, so that a slip of the point is seen."""


class PriceError(ValueError):
    """A price table that cannot be used; the message names the file, the field, and what would fit."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one instance costs an hour, and where that is said."""

    per_hour: Decimal
    table: str
    """The table's date and region, such as `2026-09 us-east-1`."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by what an instance is used for (a job kind's name, or `hosting`) and instance type."""

    by_use: Mapping[str, Mapping[str, Price]]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Prices:
        """The shipped prices, under those of the file that MILLRACE_PRICES names.

        Raises:
            PriceError: that file cannot be read, or is not a price table.
        """
        environment = os.environ if environment is None else environment
        path = environment.get(VARIABLE)
        return shipped().under(read(Path(path))) if path else shipped()

    def under(self, other: Prices) -> Prices:
        """These prices, with another table's in place of them wherever it has one."""
        return Prices({use: {**self.by_use.get(use, {}), **other.by_use.get(use, {})} for use in ENUMERATIONS})

    def of(self, use: str, instance_type: str) -> Price | None:
        """The price of an instance type, or None when it has none."""
        return self.by_use.get(use, {}).get(instance_type)


@functools.cache
def shipped() -> Prices:
    return read(SHIPPED)


def read(path: Path) -> Prices:
    """The price table in a file.

    Raises:
        PriceError: it cannot be read, or is not a price table.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise PriceError(
            f"the price table {path} cannot be read ({error.strerror}); {VARIABLE} must name a file"
        ) from None
    if len(raw) > MAX_BYTES:
        raise PriceError(f"the price table {path} is over {MAX_BYTES} bytes; it cannot be one")
    try:
        document = json.loads(raw, parse_float=Decimal, parse_int=Decimal, parse_constant=_not_a_number)
        return _parsed(document)
    except (ValueError, RecursionError) as error:  # PriceError and the errors of JSON and UTF-8 are ValueErrors
        raise PriceError(f"the price table {path} cannot be used: {error}") from None


def _not_a_number(name: str) -> Any:
    raise PriceError(f"it holds {name}; a price is a number of {CURRENCY} above 0")


def _parsed(document: Any) -> Prices:
    if not isinstance(document, dict):
        raise PriceError(
            "it must be an object with as_of, region, currency, unit and prices, as prices.json of the project"
        )
    as_of = _matching(document, "as_of", AS_OF, "a month, like 2026-09")
    region = _matching(document, "region", REGION, "a region, like eu-west-1")
    for field, wanted in (("currency", CURRENCY), ("unit", UNIT)):
        if document.get(field) != wanted:
            raise PriceError(f"{field} is {document.get(field)!r}; it must be {wanted!r}")
    by_use = document.get("prices")
    if not isinstance(by_use, dict):
        raise PriceError(f"prices must be an object with some of {', '.join(ENUMERATIONS)}")
    return Prices({use: _prices(use, by_type, f"{as_of} {region}") for use, by_type in by_use.items()})


def _matching(document: dict[str, Any], field: str, pattern: re.Pattern[str], what: str) -> str:
    value = document.get(field)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise PriceError(f"{field} is {value!r}; it must be {what}")
    return value


def _prices(use: str, by_type: Any, table: str) -> dict[str, Price]:
    if use not in ENUMERATIONS:
        raise PriceError(f"prices.{use} is not known; there are {', '.join(ENUMERATIONS)}")
    if not isinstance(by_type, dict):
        raise PriceError(f"prices.{use} must be an object of instance types and prices")
    known = frozenset(preflight.table()["shapes"][ENUMERATIONS[use]]["enum"])
    prices = {}
    for instance_type, price in by_type.items():
        if instance_type not in known:
            raise PriceError(f"prices.{use} names {instance_type!r}, which SageMaker does not offer for {use}")
        if not isinstance(price, Decimal) or not 0 < price <= MAX_PRICE:
            raise PriceError(
                f"prices.{use}.{instance_type} is {str(price)[:40]}; it must be a number of {CURRENCY} an hour above 0, "
                f"at most {MAX_PRICE}"
            )
        prices[instance_type] = Price(price, table)
    return prices

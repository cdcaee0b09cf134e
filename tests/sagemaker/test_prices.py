"""The price table: what ships is right in itself, one's own lies over it, and what is no price table is refused by name."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from millrace.sagemaker import preflight
from millrace.sagemaker.prices import ENUMERATIONS, MAX_BYTES, SHIPPED, VARIABLE, PriceError, Prices, read, shipped

OWN: dict[str, Any] = {
    "as_of": "2026-11",
    "region": "eu-west-1",
    "currency": "USD",
    "unit": "per instance-hour",
    "prices": {"training": {"ml.m5.large": 0.1, "ml.m6i.large": 0.2}},
}


def written(folder: Path, document: Any) -> Path:
    path = folder / "own.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.mark.parametrize("use", ENUMERATIONS)
def test_every_priced_type_is_one_that_sagemaker_offers_for_that_use(use: str) -> None:
    offered = preflight.table()["shapes"][ENUMERATIONS[use]]["enum"]
    assert set(json.loads(SHIPPED.read_text())["prices"][use]) <= set(offered)


def test_the_shipped_table_is_dated_and_says_what_it_was_checked_against() -> None:
    document = json.loads(SHIPPED.read_text())
    assert set(document) == {"as_of", "region", "currency", "unit", "source", "checked", "prices"}
    assert set(document["prices"]) == set(ENUMERATIONS)
    assert "check before you rely on it" in document["source"]
    price = shipped().of("training", "ml.m5.large")
    assert price is not None
    assert (price.per_hour, price.table) == (Decimal("0.115"), f"{document['as_of']} {document['region']}")


def test_a_bigger_size_of_a_family_of_equal_parts_never_costs_less() -> None:
    sizes = (
        "large",
        "xlarge",
        "2xlarge",
        "4xlarge",
        "8xlarge",
        "9xlarge",
        "12xlarge",
        "16xlarge",
        "18xlarge",
        "24xlarge",
    )
    for use, by_type in shipped().by_use.items():
        for family in ("t3", "m5", "c5", "r5"):
            found = [by_type[name].per_hour for size in sizes if (name := f"ml.{family}.{size}") in by_type]
            assert found == sorted(found), (use, family)


def test_without_the_variable_the_shipped_prices_hold() -> None:
    assert Prices.from_environment({}) == Prices.from_environment({VARIABLE: ""}) == shipped()


def test_ones_own_prices_lie_over_the_shipped_ones_and_keep_their_own_date(tmp_path: Path) -> None:
    prices = Prices.from_environment({VARIABLE: str(written(tmp_path, OWN))})
    own, added = prices.of("training", "ml.m5.large"), prices.of("training", "ml.m6i.large")
    assert own is not None
    assert added is not None
    assert (own.per_hour, own.table, added.per_hour) == (Decimal("0.1"), "2026-11 eu-west-1", Decimal("0.2"))
    for use, instance_type in (("training", "ml.c5.xlarge"), ("processing", "ml.m5.large")):
        assert prices.of(use, instance_type) == shipped().of(use, instance_type) is not None
    assert shipped().of("training", "ml.m6i.large") is None  # the shipped table has not changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"as_of": "November"}, "as_of is 'November'; it must be a month, like 2026-09"),
        ({"as_of": "2026-13"}, "as_of is '2026-13'"),
        ({"as_of": None}, "as_of is None"),
        ({"region": "Ireland"}, "region is 'Ireland'; it must be a region, like eu-west-1"),
        ({"currency": "EUR"}, "currency is 'EUR'; it must be 'USD'"),
        ({"unit": "per month"}, "unit is 'per month'; it must be 'per instance-hour'"),
        ({"prices": None}, "prices must be an object with some of training, processing, transform, hosting"),
        ({"prices": {"tuning": {}}}, "prices.tuning is not known; there are training, processing, transform, hosting"),
        ({"prices": {"training": [1]}}, "prices.training must be an object"),
        ({"prices": {"training": {"ml.m5.lage": 1}}}, "'ml.m5.lage', which SageMaker does not offer for training"),
        (
            {"prices": {"processing": {"ml.c5.large": 1}}},
            "'ml.c5.large', which SageMaker does not offer for processing",
        ),
    ],
)
def test_a_field_that_cannot_be_is_named_with_the_file_and_what_would_fit(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = written(tmp_path, OWN | change)
    with pytest.raises(PriceError) as caught:
        Prices.from_environment({VARIABLE: str(path)})
    assert str(caught.value).startswith(f"the price table {path} cannot be used: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "price", ["0", "-1", "10000.01", "1e999", '"0.1"', "true", "null", "[]", "NaN", "Infinity", "-Infinity"]
)
def test_a_price_is_a_positive_finite_number(tmp_path: Path, price: str) -> None:
    text = json.dumps(OWN).replace("0.1,", f"{price},", 1)
    with pytest.raises(PriceError, match=r"a number of USD.* above 0"):
        read(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be used: Expecting value"),
        ("[]", "must be an object with as_of"),
        ("[" * 100_000, "cannot be used"),
        (" " * (MAX_BYTES + 1), f"over {MAX_BYTES} bytes"),
    ],
    ids=["empty", "a list", "deep", "huge"],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PriceError, match=said):
        read(written(tmp_path, text))


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_named_with_the_variable(tmp_path: Path, name: str) -> None:
    with pytest.raises(PriceError, match=r"cannot be read \(.*\); MILLRACE_PRICES must name a file"):
        Prices.from_environment({VARIABLE: str(tmp_path / name)})


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(PriceError, match="cannot be used"):
        read(path)

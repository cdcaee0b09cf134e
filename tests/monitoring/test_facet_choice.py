"""A configured number as a value or a threshold."""

from __future__ import annotations

import pytest

from millrace.monitoring.facet_choice import choices_of

CODES, MEASURED = list(range(20)), list(range(21))


@pytest.mark.parametrize(
    ("given", "seen", "known", "words"),
    [
        (40.0, CODES, [], "40"),
        (40.0, MEASURED, [], "(40.0, +inf)"),
        (40.0, [1.5], [], "(40.0, +inf)"),
        # No code has a fraction.
        (0.5, ["0", "1"], [], "(0.5, +inf)"),
        (0.5, ["no", "yes"], [], "0.5"),
        # A baseline knows, if it knows the same number.
        (40.0, CODES, ["(40.0, +inf)"], "(40.0, +inf)"),
        (40.0, MEASURED, ["40"], "40"),
        (40.0, [], ["(40.0, +inf)"], "(40.0, +inf)"),
        (40.0, CODES, ["(50.0, +inf)", "3"], "40"),
        ("40", MEASURED, ["(40.0, +inf)"], "40"),
    ],
)  # fmt: skip
def test_one_number_is_what_the_baseline_says_or_what_the_values_suggest(
    given: str | float, seen: list[str | float], known: list[str], words: str
) -> None:
    (choice,) = choices_of("age", [given], seen, known)
    assert choice.words == words

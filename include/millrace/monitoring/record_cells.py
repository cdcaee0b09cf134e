"""Find in one record what an attribute of a contract names: a cell by its name, its path, or its position from 0."""

from __future__ import annotations

import re
from collections.abc import Sequence

from millrace.profiling.payload import WRAPPERS, Cell, Cells

INDEX = re.compile(r"\[(\d+)\]")


def find(cells: Cells, attribute: str) -> Cell:
    """The cell that an attribute names, None where there is none; a name comes before a position.

    >>> find([(None, 0.9), (None, "yes")], "1")
    'yes'
    >>> find([("scores.0", 0.9)], "$.predictions[*].scores[0]")
    0.9
    """
    path = column_of(attribute)
    for name, cell in cells:
        if name == path:
            return cell
    if attribute.isdecimal() and int(attribute) < len(cells):
        return cells[int(attribute)][1]
    return None


def below(cells: Cells, attribute: str) -> Cells:
    """The cells of the list or object that an attribute names, without its name before theirs; those of a list have none.

    >>> below([("features.0", 1), ("features.1", 2), ("id", 7)], "features")
    [(None, 1), (None, 2)]
    """
    prefix = f"{column_of(attribute)}."
    chosen = [(name.removeprefix(prefix), cell) for name, cell in cells if name is not None and name.startswith(prefix)]
    return [(None if name.isdecimal() else name, cell) for name, cell in chosen]


def features_of(cells: Cells, attribute: str | None, names: Sequence[str]) -> dict[str, Cell]:
    """What the model was asked about, by name.

    Args:
        attribute: the list or object that holds the features; everything without it.
        names: of cells that have none, by position; then `_c0`, `_c1`.

    >>> features_of([(None, 1), (None, "x")], None, ["size"])
    {'size': 1, '_c1': 'x'}
    """
    chosen = below(cells, attribute) if attribute else cells
    return {
        name or (names[index] if index < len(names) else f"_c{index}"): cell
        for index, (name, cell) in enumerate(chosen)
    }


def column_of(attribute: str) -> str:
    """A JSONPath or JMESPath of names and indexes as the name that `payload` gives its cell."""
    path = INDEX.sub(r".\1", attribute.removeprefix("$").replace("[*]", "")).strip(".")
    wrapper, *rest = path.split(".")
    if wrapper not in WRAPPERS or not rest:
        return path
    # `payload` makes a row of each element of the wrapper's list: which one is no part of a cell's name.
    return ".".join(rest[1:] if rest[0].isdecimal() and len(rest) > 1 else rest)

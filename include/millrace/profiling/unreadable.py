"""Lines of a dataset that cannot be read: counted, and the first few told, so that none is dropped in silence."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_EXAMPLES = 5
MAX_CHARACTERS = 200


@dataclass(slots=True)
class Unreadable:
    """How many lines could not be read, and why the first ones could not."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, where: str, why: str) -> None:
        self.count += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{where}: {why}"[:MAX_CHARACTERS])

    def __bool__(self) -> bool:
        return self.count > 0

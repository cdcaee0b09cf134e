"""A challenge's job: the challenger wins when it is there, and says whether there was a champion."""

from __future__ import annotations

import sys
from pathlib import Path

from millrace.verdict import Verdict


def main() -> int:
    there = [name for name in ("champion", "challenger") if any(Path("input", name).glob("*.tar.gz"))]
    won = "challenger" in there and "--lose" not in sys.argv
    said = f"of {' and '.join(there)}, the challenger {'is better' if won else 'is not better'}"
    Verdict(gate="challenge", passed=won, summary=said, metrics={"archives": len(there)}).write(
        Path("output/challenge")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

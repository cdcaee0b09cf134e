"""A table with a header for the gate and the monitor, and its rows without one for the model."""

from pathlib import Path

ROWS = [f"{20 + row % 50},{150 + row % 40}" for row in range(200)]

Path("output/table").mkdir(parents=True, exist_ok=True)
Path("output/rows").mkdir(parents=True, exist_ok=True)
Path("output/table/table.csv").write_text("\n".join(["age,height", *ROWS]) + "\n")
Path("output/rows/rows.csv").write_text("\n".join(ROWS) + "\n")

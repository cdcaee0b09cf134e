"""What the operators of the DAG work on: a table with a header for the gate and the monitor, its rows without one for the
model, and predictions with what they turned out to be."""

from pathlib import Path

ROWS = [f"{20 + row % 50},{150 + row % 40}" for row in range(200)]
FILES = {
    "table": ["age,height", *ROWS],
    "rows": ROWS,
    "predictions": ["id,probability", *(f"n{row},{row % 100 / 100}" for row in range(200))],
    "labels": ["id,label", *(f"n{row},{int(row % 100 > 40 + row % 7)}" for row in range(200))],
}

for name, lines in FILES.items():
    folder = Path("output", name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")

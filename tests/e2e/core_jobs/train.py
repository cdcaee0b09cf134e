"""A model that answers each line with the number of rows it was trained on."""

import os
from pathlib import Path

HANDLERS = """
from pathlib import Path

def model_fn(model_dir): return Path(model_dir, "rows.txt").read_text()
def transform_fn(model, body, content_type, accept): return "".join(model + "\\n" for _ in body.splitlines())
"""

folder = Path(os.environ["SM_MODEL_DIR"])
rows = sum(len(path.read_text().splitlines()) for path in Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir())
(folder / "rows.txt").write_text(str(rows))
(folder / "code").mkdir()
(folder / "code" / "inference.py").write_text(HANDLERS)

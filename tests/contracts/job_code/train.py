"""The least training there is: it reads its channel and leaves a model."""

import os
from pathlib import Path

rows = sum(len(path.read_text().splitlines()) for path in Path(os.environ["SM_CHANNEL_TRAIN"]).iterdir())
Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(f"trained on {rows} rows\n")

"""The program of Model Monitor's image on this machine: the command `analyze`, started by its file's path.

The folder that holds `millrace` is put on the path first, since inside a sandbox no environment knows it.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from millrace.monitoring.__main__ import main
    from millrace.profiling.lean_start import lean_start

    lean_start()
    sys.exit(main(["analyze"]))

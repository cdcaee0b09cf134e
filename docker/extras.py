"""Print the requirements of the named extras of pyproject.toml, one a line: `python extras.py jobs > wanted.txt`.

The images of jobs and of the runtime hold these without the project's core, which is Airflow.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for extra in sys.argv[1:]:
    sys.stdout.write("\n".join(project["optional-dependencies"][extra]) + "\n")

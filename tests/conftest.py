"""For every test: a shell without AWS settings, as the CLI makes it for itself and its children."""

from __future__ import annotations

import os

from millrace.cli.environment import scrub, telemetry_off

scrub(os.environ)
os.environ.update(telemetry_off())

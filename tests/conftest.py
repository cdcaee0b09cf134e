"""For every test: a shell without AWS settings, as the CLI makes it for itself and its children."""

from __future__ import annotations

import os

from hypothesis import settings

from millrace.cli.environment import asides_off, scrub

scrub(os.environ)
os.environ.update(asides_off())

settings.register_profile("shared machine", deadline=None)  # a busy core is no failure
settings.load_profile("shared machine")

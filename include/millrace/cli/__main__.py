"""`python -m millrace.cli`: the console script, where it is not on PATH."""

from . import main

main()

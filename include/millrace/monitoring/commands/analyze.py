"""Do what Model Monitor's container does, told by its environment variables: a baseline, or a dataset held against one.

Which of the analyses it is to be, the variable `analysis_type` says; each is a module of `millrace.monitoring.analyses`.
"""

from __future__ import annotations

import argparse

from millrace.monitoring import analyses, container_contract


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass  # everything is said by the environment


def run(_options: argparse.Namespace) -> None:
    contract = container_contract.of_this_job()
    analyses.load(contract.analysis).run(contract)

"""Do what Model Monitor's or Clarify's container does: a baseline, or a dataset held against one.

Model Monitor's is told by environment variables, of which `analysis_type` says which analysis it is to be, and Clarify's by
`analysis_config.json`. Each analysis is a module of `millrace.monitoring.analyses`.
"""

from __future__ import annotations

import argparse

from millrace.monitoring import analyses, clarify_job, container_contract


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass  # everything is said by the environment, or by a file


def run(_options: argparse.Namespace) -> None:
    of_clarify = clarify_job.of_this_job()
    documents = []
    for contract in of_clarify or [container_contract.of_this_job()]:
        analyses.load(contract.analysis).run(contract)
        if of_clarify:
            documents.append(clarify_job.read_analysis(contract))
    if of_clarify:
        clarify_job.write_analysis(of_clarify[0], clarify_job.merge(documents))

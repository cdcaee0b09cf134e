"""Data-quality gates that run inside a processing job: rows, a suite, and a verdict.

A suite is Great Expectations' own JSON or a function that returns it (`suites`). The rows are read once, as a stream
(`reading`), and expectations are evaluated as they go by (`streaming`); what cannot be is left to Great Expectations, in
memory (`in_memory`). Rows that break a critical expectation can be put aside (`quarantine`). The results are one document
of Great Expectations' form (`results`), which becomes a verdict (`findings`) and a page that reads without a network
(`page`). Instances that each read a shard are put together by `shards`.

What this package does not do: it reads local folders only, and keeps no Great Expectations project between runs.

Command line: `python -m millrace.quality --help`.
"""

"""Data-quality gates that run inside a processing job: Great Expectations suites to verdicts and Data Docs.

A suite is a function in the job's source archive (`suites`), the batch is a folder of files (`batch`), Great
Expectations judges one by the other (`validation`), and the result becomes a verdict (`findings`) and pages that read
without a network (`data_docs`).

What this package does not do: it reads local folders only, keeps no Great Expectations project or store between runs,
and holds the whole batch in memory as one pandas dataframe.

Command line: `python -m millrace.quality --help`.
"""

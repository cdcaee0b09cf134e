"""Drift monitoring that runs inside a processing job and speaks the Model Monitor file formats.

A dataset is profiled in one pass and written down (`millrace.profiling`), and a later dataset is compared with what was
written (`checks`, `distance`, `drift`); the answer is a `constraint_violations.json`, a report and a verdict. A good drift
detector here is one that stays silent on fresh data of the same kind, says which feature moved and by how much, and needs
the baseline's files only, never its rows.

Beside drift stand model quality (`ground_truth`, `model_quality`, `estimated_quality`), bias (`facets`, `bias`), attribution
drift (`shapley`, `attribution`) and drift of several columns together (`sample`, `multivariate`). They judge by intervals
(`interval`, `certainty`) and share one page (`page`).

The command `analyze` is Model Monitor's container: told by its environment variables (`container_contract`), it does one of
the four `analyses`, and leaves CloudWatch's metrics as files.

What this package does not do: it reads local folders only (but for the model that an explanation asks, `shadow_endpoint`),
schedules nothing, and sends no metrics.

Command line: `python -m millrace.monitoring --help`.
"""

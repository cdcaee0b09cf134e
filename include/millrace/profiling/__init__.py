"""What is in a dataset, found in one pass and bounded memory, and the files that say so.

A folder is read as a stream of record batches (`dataset`; `capture` and `json_dataset` give rows, of which `typed_rows`
makes batches), the batches are profiled (`profile`), and what is known then (`summary`) is written as Model Monitor's
statistics.json and constraints.json (`statistics_file`, `constraints_file`). `lean_start` is what the process of such a job
does first. Quality gates and monitoring both stand on it, and it knows neither: it judges nothing.
"""

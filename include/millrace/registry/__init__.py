"""MLflow, the registry of record: runs, versions, aliases and promotion. Only operators talk to it."""

"""The asking side: job kinds, typed requests, preflight, names, source archives, waiting.

Nothing here imports Airflow, or boto3 at module level: clients are handed in.
"""

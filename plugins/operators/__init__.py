"""Verbs on SageMaker, as Airflow operators, one concept a file. They hold no statistics and touch no data."""

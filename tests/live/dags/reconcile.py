"""The reconciler as dags/millrace_reconciler.py runs it with stop=true, but without the age that spares young jobs."""

from datetime import timedelta

from airflow.sdk import DAG

from operators.reconcile import ReconcileOperator

with DAG("reconcile_at_once", schedule=None, catchup=False):
    ReconcileOperator(task_id="reconcile", stop=True, min_age=timedelta(0))

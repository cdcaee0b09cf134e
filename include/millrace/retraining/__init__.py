"""When to retrain and who wins: the policy, the append-only history of what was found and decided, and its page.

Operators write here what a gate, a monitor or a challenge has found, and ask the policy what follows. Standard library only:
Airflow workers import it. What it does not do: it looks at no data; what a record says, a job has found.
"""

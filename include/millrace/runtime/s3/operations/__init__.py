"""S3's operations: each a function of the store and the request, run in the pool, that returns an answer.

Those that take an object's bytes are given them received, staged and verified. `routes.py` says which is which.
"""

"""Benchmarks: each measures the peer, the floor and Millrace in one run and prints ratios."""

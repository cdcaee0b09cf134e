"""A package with a suite beside its code."""

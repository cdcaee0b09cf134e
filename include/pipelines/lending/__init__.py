"""Loan risk, scored nightly, on a generated stream of applications whose world changes on a known day."""

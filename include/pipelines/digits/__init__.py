"""Handwritten digits: the 1,797 images (UCI) that scikit-learn ships, from ingest to monitoring."""

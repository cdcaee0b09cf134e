"""Millrace: machine-learning pipelines on Amazon SageMaker, on AWS and on one machine."""

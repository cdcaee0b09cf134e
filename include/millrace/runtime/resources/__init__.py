"""One file a SageMaker resource: what its operations check, record and answer."""

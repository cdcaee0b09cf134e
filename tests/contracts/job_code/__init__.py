"""Job code for the operators' contract tests; it travels in a source archive, as a pipeline's does."""

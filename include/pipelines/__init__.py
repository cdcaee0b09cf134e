"""The example pipelines' own job code and settings, one folder each."""

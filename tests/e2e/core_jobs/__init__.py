"""The least job code that keeps every operator busy; it travels in a source archive, as a pipeline's does."""

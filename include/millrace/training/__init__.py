"""What runs inside training jobs. Imports torch and the standard library only, so that it travels in a source archive."""

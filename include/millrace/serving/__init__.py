"""What runs inside inference containers. Imports torch and the standard library only, so that it travels with a model."""

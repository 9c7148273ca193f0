"""A package beside the project."""

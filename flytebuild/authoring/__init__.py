"""The user's code: the only room that knows flyte's private modules."""

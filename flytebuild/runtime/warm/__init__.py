"""Warm containers: a worker in each has imported Flyte's SDK, and forks for every action."""

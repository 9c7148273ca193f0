"""Plan, build and run Flyte workflows whose tasks live in different images."""

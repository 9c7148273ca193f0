"""`python -m flytebuild`."""

from flytebuild.cli.start import start

start()

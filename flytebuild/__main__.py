"""`python -m flytebuild`."""

from flytebuild.cli.main import main

main()

"""Progress: one calm line per image on a terminal, plain lines elsewhere, JSON lines for other programs."""

from flytebuild.cli.progress.follow import follow

__all__ = ["follow"]

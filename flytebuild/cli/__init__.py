"""The command line: one file per command, thin; the only room that prints."""

"""What the Makefile's verbs call; no part of the installed package."""

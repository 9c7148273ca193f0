"""Packages of Python as layers that images share."""

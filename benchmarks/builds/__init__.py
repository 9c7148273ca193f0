"""Builds of whole workflows, beside flyte's own local builder on the same engine and registry."""

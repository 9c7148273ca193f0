"""The control plane, measured."""

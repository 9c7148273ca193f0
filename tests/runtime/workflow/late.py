"""A module that is imported inside a function only."""

VALUE = "imported late"

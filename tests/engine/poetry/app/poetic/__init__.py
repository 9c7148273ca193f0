"""A package of the project."""

import library

uses = library.__name__

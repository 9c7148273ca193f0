"""What becomes of a solve's result; a value of its own, so that who only names one needs no gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Export:
    """Where the result goes: a kind of exporter and its attributes (buildkit `exporter/containerimage/exptypes`)."""

    type: str
    attrs: Mapping[str, str]

"""What becomes of a solve's result; a value of its own, so that who only names one needs no gRPC."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace


class Export(Struct, frozen=True):
    """Where the result goes: a kind of exporter and its attributes (buildkit `exporter/containerimage/exptypes`)."""

    type: str
    attrs: Mapping[str, str]

    def with_config(self, config: str | None) -> Export:
        """The same with an image's config, a JSON document; without one it is the one that a frontend makes."""
        return replace(self, attrs={**self.attrs, "containerimage.config": config}) if config else self

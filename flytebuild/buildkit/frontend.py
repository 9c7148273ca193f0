"""Solves whose graph a frontend makes, the daemon's own or an image: a Dockerfile's.

The context and the Dockerfile are given as graphs. So they have names of their own choice, any number of images can
be solved in one session, and what is sent is what was hashed: the frontend applies no `.dockerignore` to them.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.spec.images import Platform


class Frontend(Struct, frozen=True):
    """A frontend, its options, and the graphs that it takes by name."""

    name: str
    attrs: Mapping[str, str]
    inputs: Mapping[str, ops_pb2.Definition]


def dockerfile(
    context: ops_pb2.Definition,
    folder: ops_pb2.Definition,
    platform: Platform,
    *,
    filename: str = "Dockerfile",
    images: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    arguments: Mapping[str, str] | None = None,
    syntax: str = "",
    source: str = "",
) -> Frontend:
    """What the file `filename` in `folder` makes of `context`.

    The daemon's own frontend reads it, or the one that is in the image `source`, best by digest. `syntax` is what the
    file's `# syntax=` line says: whoever reads the file is told that this was looked at, and fetches no other frontend.

    `images` says where an image that it names is taken from, best by digest
    (`{"python:3.11": "mirror.example/python@sha256:…"}`); `labels` are added to the image's own, `arguments` are
    those of the build. Proxies among them are no part of what a result is known by.
    """
    attrs = {"filename": filename, "platform": str(platform)}
    attrs.update({f"context:{name}": f"docker-image://{location}" for name, location in (images or {}).items()})
    attrs.update({f"label:{name}": value for name, value in (labels or {}).items()})
    attrs.update({f"build-arg:{name}": value for name, value in (arguments or {}).items()})
    inputs = {"context": context, "dockerfile": folder}
    if syntax:
        attrs["cmdline"] = syntax
    if not source:
        return Frontend("dockerfile.v0", attrs, inputs)
    # A frontend that does not know them would fetch images by their names, whatever these mean by now.
    needed = {"frontend.caps": "moby.buildkit.frontend.contexts"} if images else {}
    return Frontend("gateway.v0", {**attrs, **needed, "source": source}, inputs)

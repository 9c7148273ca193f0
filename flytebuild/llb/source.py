"""Sources: where a file system comes from."""

from __future__ import annotations

import json

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.state import State, Vertex
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.tree import Tree


def image(reference: str, platform: Platform, *, name: str) -> State:
    """The root file system of an image. `reference` is in full form, best pinned by digest."""
    operation = ops_pb2.Op(source=ops_pb2.SourceOp(identifier=f"docker-image://{reference}"))
    return State(Vertex(operation, (), platform, name))


def local(tree: Tree, *, name: str) -> State:
    """A tree of the client's, which the session must serve as `local_name(tree.digest)`.

    Files come with made up times; copy them out of it with a fixed one. BuildKit keeps what it was sent under the
    source's name and the session's shared key, and takes it for the base of the next transfer: what has the same
    paths for the most part has the same name, so that only what changed is sent. Which tree is meant must be said
    apart from that, in a part of the source by which BuildKit tells results apart: else two trees of one name would
    be one. No path of this machine and no session is in it, so equal trees are equal vertices everywhere.
    """
    attrs = {"local.followpaths": json.dumps([local_name(tree.digest)])}
    operation = ops_pb2.Op(source=ops_pb2.SourceOp(identifier=f"local://files-{tree.kin}", attrs=attrs))
    return State(Vertex(operation, (), None, name))


def download(url: str, sha256: str, filename: str, *, name: str) -> State:
    """A file that BuildKit fetches itself, as `/filename`; it is refused unless its SHA-256 (64 hex digits) is that.

    BuildKit knows it by the digest and the file's name, and not by the URL: wherever it was fetched from, it is the
    same (source/http/source.go, formatCacheKey). It asks for nothing before a step needs the content.
    """
    attrs = {"http.checksum": f"sha256:{sha256}", "http.filename": filename, "http.perm": "0644"}
    return State(Vertex(ops_pb2.Op(source=ops_pb2.SourceOp(identifier=url, attrs=attrs)), (), None, name))


def is_download(state: State) -> bool:
    """Whether a state is a file that BuildKit fetches itself."""
    return "http.checksum" in state.vertex.operation.source.attrs


def local_name(digest: str) -> str:
    """What a tree is called between BuildKit and the session: 128 bits of its digest."""
    if len(digest) < 32:
        raise ValueError(f"`{digest}` is too short for a digest")
    return f"tree-{digest[:32]}"


def pinned(resolved: ResolvedImage) -> str:
    """Where an image is fetched from, with the digest that it was found to have."""
    if resolved.digest is None:
        raise ValueError(f"{resolved.reference} is not resolved")
    name = resolved.location.partition("@")[0]
    host, slash, path = name.rpartition("/")
    return f"{host}{slash}{path.partition(':')[0]}@{resolved.digest}"

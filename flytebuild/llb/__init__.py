"""LLB as values: immutable states that operations turn into new states, marshalled to BuildKit's graph.

Construct with `image`, `run` and `copy`; nothing happens until `marshal`. After BuildKit's own `client/llb`.
"""

from flytebuild.llb.file import change, copy, make_file, make_files, make_folder
from flytebuild.llb.marshal import marshal
from flytebuild.llb.merge import diff, merge
from flytebuild.llb.run import BindMount, CacheMount, SecretFile, SecretVariable, TmpfsMount, run
from flytebuild.llb.source import download, image, local, local_name
from flytebuild.llb.state import State

__all__ = [
    "BindMount",
    "CacheMount",
    "SecretFile",
    "SecretVariable",
    "State",
    "TmpfsMount",
    "change",
    "copy",
    "diff",
    "download",
    "image",
    "local",
    "local_name",
    "make_file",
    "make_files",
    "make_folder",
    "marshal",
    "merge",
    "run",
]

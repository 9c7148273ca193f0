"""What a raw container finds in its input folder and in its arguments: pure functions over a task's inputs.

Every input is a file below the folder, named like it: a primitive value as text, a file as it is, a folder or the parts
of a DataFrame below it; members of a list or a map are files in a folder. Beside them are all inputs in one document,
`inputs.pb` and `inputs.json` or `inputs.yaml`, in which files are where the container has them.
Source: `flytecopilot/data/download.go` of flyteorg/flyte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flytebuild.runtime.container import OrderError
from flytebuild.runtime.raw_values import text

if TYPE_CHECKING:
    from flyteidl2.core.literals_pb2 import Literal, Scalar
    from flyteidl2.core.tasks_pb2 import DataLoadingConfig
    from flyteidl2.task.common_pb2 import Inputs

_INPUT = re.compile(r"\{\{\s*[.$]inputs\.([^}\s]+)\s*\}\}", re.IGNORECASE)
_MULTIPART = 1
_NAMED_DIR = 1
_PROTO, _YAML = 2, 1
"""Numbers of the protocol's enumerations."""


@dataclass(frozen=True, slots=True)
class Object:
    """What lies in an object store: one object, or all below a prefix."""

    uri: str
    is_prefix: bool


@dataclass(frozen=True, slots=True)
class Staged:
    """What goes into a container, by its path there, and the inputs as the container sees them."""

    files: Mapping[str, bytes | Object]
    local: Mapping[str, Literal] = field(repr=False)


def staged(inputs: Inputs, config: DataLoadingConfig) -> Staged:
    """Where each input goes. Raises OrderError for one that no file can be made of."""
    files: dict[str, bytes | Object] = {}
    folder = config.input_path.rstrip("/")
    is_named = config.file_input_layout == _NAMED_DIR
    local = {item.name: _placed(item.value, f"{folder}/{item.name}", is_named, files) for item in inputs.literals}
    return Staged(files | _documents(local, folder, config.format), local)


def substituted(argument: str, inputs: Inputs) -> str:
    """An argument with its inputs, such as `{{.inputs.x}}`; of files it gets the address in the store.

    Raises OrderError for an input that the task does not have.
    """
    values = {item.name: item.value for item in inputs.literals}

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise OrderError(f"The argument `{argument}` needs an input `{found[1]}`, which the task does not get")
        return _shown(values[found[1]])

    return _INPUT.sub(value, argument)


def _placed(literal: Literal, path: str, is_named: bool, files: dict[str, bytes | Object]) -> Literal:
    """Note what goes to `path`; the value as the container sees it."""
    from flyteidl2.core.literals_pb2 import Literal

    kind = literal.WhichOneof("value")
    if kind == "collection":
        made = Literal()
        names = _names((item for item in literal.collection.literals), is_named)
        for name, item in zip(names, literal.collection.literals, strict=True):
            # A file of a list is in the list's folder already.
            made.collection.literals.append(_placed(item, f"{path}/{name}", False, files))
        return made
    if kind == "map":
        made = Literal()
        for key, item in literal.map.literals.items():
            made.map.literals[key].CopyFrom(_placed(item, f"{path}/{_segment(key)}", is_named, files))
        return made
    if kind != "scalar":
        raise OrderError(f"The input at `{path}` is too large for a raw container")
    return _placed_scalar(literal, path, is_named, files)


def _placed_scalar(literal: Literal, path: str, is_named: bool, files: dict[str, bytes | Object]) -> Literal:
    from flyteidl2.core.literals_pb2 import Literal

    scalar = literal.scalar
    kind = scalar.WhichOneof("value")
    if kind == "union":
        return _placed(scalar.union.value, path, is_named, files)
    if kind not in ("blob", "structured_dataset", "schema"):
        files[path] = _content(scalar)
        return literal
    made = Literal()
    made.CopyFrom(literal)
    thing = getattr(made.scalar, kind)
    is_prefix = kind != "blob" or thing.metadata.type.dimensionality == _MULTIPART
    if is_named and not is_prefix:
        path = f"{path}/{_basename(thing.uri)}"
    files[path] = Object(thing.uri, is_prefix)
    thing.uri = path
    return made


def _content(scalar: Scalar) -> bytes:
    """A value that is no file, as the content of one."""
    kind = scalar.WhichOneof("value")
    if kind == "primitive":
        return text(scalar.primitive).encode()
    if kind == "binary":
        return bytes(scalar.binary.value)
    if kind == "generic":
        from google.protobuf.json_format import MessageToDict

        return json.dumps(MessageToDict(scalar.generic)).encode()
    if kind == "error":
        return str(scalar.error.message).encode()
    return b"null"


def _names(items: Iterable[Literal], is_named: bool) -> list[str]:
    """The names of a list's members: their places, or those that files have, each of them once."""
    names: list[str] = []
    for number, item in enumerate(items):
        is_file = is_named and item.scalar.HasField("blob") and item.scalar.blob.metadata.type.dimensionality == 0
        wanted = _basename(item.scalar.blob.uri) if is_file else str(number)
        name, count = wanted, 0
        while name in names:
            count += 1
            name = f"{count}_{wanted}"
        names.append(name)
    return names


def _basename(uri: str) -> str:
    return _segment(uri.rstrip("/").rpartition("/")[2])


def _segment(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise OrderError(f"The key `{name}` of an input cannot be the name of a file")
    return name


def _documents(local: Mapping[str, Literal], folder: str, form: int) -> dict[str, bytes]:
    """All inputs in one file, twice: for programs that know Flyte's messages, and for others."""
    from flyteidl2.core.literals_pb2 import LiteralMap

    from flytebuild.runtime.web.literals import plain

    documents = {f"{folder}/inputs.pb": LiteralMap(literals=local).SerializeToString(deterministic=True)}
    if form != _PROTO:
        # JSON is YAML.
        name = "inputs.yaml" if form == _YAML else "inputs.json"
        values = {name: plain(value) for name, value in local.items()}
        documents[f"{folder}/{name}"] = json.dumps(values, ensure_ascii=False).encode()
    return documents


def _shown(literal: Literal) -> str:
    """A value inside an argument."""
    kind = literal.WhichOneof("value")
    if kind == "collection":
        return f"[{','.join(_shown(item) for item in literal.collection.literals)}]"
    if kind == "scalar":
        scalar = literal.scalar
        inner = scalar.WhichOneof("value")
        if inner == "union":
            return _shown(scalar.union.value)
        if inner in ("blob", "structured_dataset", "schema"):
            return str(getattr(scalar, inner).uri)
        if inner in ("primitive", "generic", "none_type"):
            return _content(scalar).decode()
    raise OrderError("A map or a dataclass cannot be part of an argument; read it from the input folder")

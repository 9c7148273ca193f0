"""What a raw container leaves in its output folder, made a task's outputs as it is read.

A file for each output, named like it: text for a simple type, the file or the folder itself for `File` and `Dir`. Other
files are nobody's. A file `_ERROR` is the container's own word that it failed, and why.
Source: `flytecopilot/data/upload.go` of flyteorg/flyte; folders keep what is nested in them here.
"""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flytebuild.runtime import archives
from flytebuild.runtime.container import OrderError
from flytebuild.runtime.raw_values import SIMPLE_TYPES, literal

if TYPE_CHECKING:
    from flyteidl2.core.interface_pb2 import VariableMap
    from flyteidl2.core.literals_pb2 import Literal
    from flyteidl2.core.types_pb2 import BlobType, LiteralType

    from flytebuild.runtime.stores import Store

MAX_TEXT = 1 << 20
"""Bytes of a value that comes as text; what is larger is an output of type `File`."""

ERROR_FILE = "_ERROR"
_MULTIPART = 1


class OutputError(Exception):
    """Raised for outputs that are not what the task's interface says; the message is a sentence."""


def check_types(outputs: VariableMap) -> None:
    """Raise OrderError for an output that cannot be made of a file, before its container has worked for nothing."""
    for variable in outputs.variables:
        if not _is_known(variable.value.type):
            kind = variable.value.type.WhichOneof("type")
            raise OrderError(
                f"Output `{variable.key}` is a `{kind}`, and raw containers return simple types, `File` and `Dir`"
            )


def _is_known(kind: LiteralType) -> bool:
    from flyteidl2.core.types_pb2 import SimpleType

    return kind.HasField("blob") or (kind.HasField("simple") and SimpleType.Name(kind.simple) in SIMPLE_TYPES)


@dataclass
class Harvest:
    """Takes the members of an output folder's archive into the store, and makes values of them.

    `prefix` is where the store keeps files.
    """

    store: Store
    outputs: VariableMap
    prefix: str
    _values: dict[str, Literal] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    async def take(self, chunks: Iterator[bytes]) -> dict[str, Literal]:
        """All outputs by name. Raises OutputError, OSError for an archive that breaks off."""
        kinds = {variable.key: variable.value.type for variable in self.outputs.variables}
        try:
            archive = await asyncio.to_thread(archives.reading, chunks)
            while (member := await asyncio.to_thread(archive.next)) is not None:
                # The folder's own name comes first.
                name, _, inner = member.name.partition("/")[2].partition("/")
                if name == ERROR_FILE and not inner:
                    raise OutputError(f"The container reported an error: {(await self._text(archive, member)).strip()}")
                if name in kinds:
                    await self._member(archive, member, name, inner, kinds[name])
        except tarfile.TarError as error:
            raise OSError(f"the archive of the output folder cannot be read: {error}") from error
        missing = [name for name in kinds if name not in self._values]
        if missing:
            names = ", ".join(f"`{name}`" for name in missing)
            raise OutputError(f"The container ended without writing {names} into its output folder")
        return self._values

    async def _member(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, inner: str, kind: LiteralType
    ) -> None:
        if not (member.isfile() or member.isdir()):
            raise OutputError(f"Output `{'/'.join(filter(None, (name, inner)))}` is neither a file nor a folder")
        if kind.HasField("blob"):
            await self._blob(archive, member, name, inner, kind.blob)
        elif member.isdir():
            raise OutputError(f"Output `{name}` is a folder, and the task says that it is a value")
        else:
            from flyteidl2.core.types_pb2 import SimpleType

            try:
                written = await self._text(archive, member)
                self._values[name] = literal(SimpleType.Name(kind.simple), written)
            except ValueError as error:
                raise OutputError(f"Output `{name}` cannot be read: {error}") from error

    async def _blob(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, inner: str, kind: BlobType
    ) -> None:
        is_folder = kind.dimensionality == _MULTIPART
        if not inner and member.isdir() != is_folder:
            told = ("a folder", "a file") if member.isdir() else ("a file", "a folder")
            raise OutputError(f"Output `{name}` is {told[0]}, and the task says that it is {told[1]}")
        uri = f"{self.prefix}/{name}"
        if not inner:
            self._values[name] = _blob_literal(uri, kind)
        if member.isfile():
            file: Any = archive.extractfile(member)
            async with self.store.writing(f"{uri}/{inner}" if inner else uri) as writer:
                while piece := await asyncio.to_thread(file.read, archives.PIECE):
                    await writer.write(piece)

    async def _text(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
        name = member.name.partition("/")[2]
        if member.size > MAX_TEXT:
            raise OutputError(f"Output `{name}` has {member.size} bytes, and a value may have {MAX_TEXT}")
        file: Any = archive.extractfile(member)
        content: bytes = await asyncio.to_thread(file.read) if file else b""
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise OutputError(f"Output `{name}` is a value, and not written as UTF-8") from error


def _blob_literal(uri: str, kind: BlobType) -> Literal:
    from flyteidl2.core.literals_pb2 import Blob, BlobMetadata, Literal, Scalar

    return Literal(scalar=Scalar(blob=Blob(uri=uri, metadata=BlobMetadata(type=kind))))

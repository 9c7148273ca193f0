"""What goes into raw containers, and what is made of what they leave."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from flyteidl2.core.interface_pb2 import Variable, VariableEntry
from flyteidl2.core.literals_pb2 import Literal, LiteralMap
from flyteidl2.core.tasks_pb2 import DataLoadingConfig
from flyteidl2.core.types_pb2 import BlobType, LiteralType, SimpleType
from flyteidl2.task.common_pb2 import Inputs, NamedLiteral, Outputs

from flytebuild.runtime.actions import Ledger
from flytebuild.runtime.container import Order, OrderError, order
from flytebuild.runtime.model import Action, Failure
from flytebuild.runtime.raw_container import RawContainers
from flytebuild.runtime.reach import Reach
from flytebuild.runtime.storage import ObjectStore
from tests.runtime import samples
from tests.runtime.conftest import SITE

FILE = LiteralType(blob=BlobType(dimensionality=BlobType.SINGLE))
FOLDER = LiteralType(blob=BlobType(dimensionality=BlobType.MULTIPART))
NUMBER = LiteralType(simple=SimpleType.INTEGER)
BASE = "s3://flytebuild/runs/r1"


def number(value: int) -> Literal:
    made = Literal()
    made.scalar.primitive.integer = value
    return made


def blob(uri: str, kind: LiteralType = FILE) -> Literal:
    made = Literal()
    made.scalar.blob.uri = uri
    made.scalar.blob.metadata.type.CopyFrom(kind.blob)
    return made


def listed(*items: Literal) -> Literal:
    made = Literal()
    made.collection.literals.extend(items)
    return made


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


def raw(arguments: tuple[str, ...] = (), layout: str = "DIRECT", **outputs: LiteralType) -> Action:
    """A raw container's action with its folders at `/in` and `/out`."""
    spec = samples.task_spec()
    container = spec.task_template.container
    del container.args[:]
    container.args.extend(arguments)
    container.data_config.CopyFrom(
        DataLoadingConfig(enabled=True, input_path="/in", output_path="/out", file_input_layout=layout)
    )
    variables = [VariableEntry(key=name, value=Variable(type=kind)) for name, kind in outputs.items()]
    spec.task_template.interface.outputs.variables.extend(variables)
    return samples.action(spec=spec)


def filled(store: ObjectStore, action: Action, raws: RawContainers | None = None, /, **inputs: Literal) -> Order:
    """The order of an action with inputs."""
    message = Inputs(literals=[NamedLiteral(name=name, value=value) for name, value in inputs.items()])
    plain = order(samples.run(), action, samples.attempt(), SITE)

    async def fill() -> Order:
        await store.write(action.input_uri, message.SerializeToString())
        return await (raws or RawContainers(store)).fill(plain, action)

    return asyncio.run(fill())


def put(store: ObjectStore, uri: str, content: bytes = b"content") -> None:
    asyncio.run(store.write(uri, content))


def contents(made: Order) -> dict[str, bytes | None]:
    """What is in an order's files, by their paths."""
    return {
        entry.path: entry.source.read_bytes() if isinstance(entry.source, Path) else entry.source
        for entry in made.files
    }


def test_a_task_of_the_sdk_is_left_as_it_is(store: ObjectStore) -> None:
    made = filled(store, samples.action())
    assert made.files == ()


def test_inputs_are_files(store: ObjectStore) -> None:
    put(store, f"{BASE}/x/one.txt", b"one")
    put(store, f"{BASE}/folder/deep/two.txt", b"two")
    put(store, f"{BASE}/folder-not", b"a neighbour")
    made = filled(
        store,
        raw(),
        count=number(3),
        file=blob(f"{BASE}/x/one.txt"),
        folder=blob(f"{BASE}/folder", FOLDER),
        files=listed(blob(f"{BASE}/x/one.txt"), blob(f"{BASE}/x/one.txt")),
    )
    found = contents(made)
    document, message = found.pop("in/inputs.json"), found.pop("in/inputs.pb")
    assert found == {
        "in": None,
        "out": None,
        "in/count": b"3",
        "in/file": b"one",
        "in/folder": None,
        "in/folder/deep/two.txt": b"two",
        "in/files/0": b"one",
        "in/files/1": b"one",
    }
    assert json.loads(document or b"") == {
        "count": 3,
        "file": "/in/file",
        "folder": "/in/folder",
        "files": ["/in/files/0", "/in/files/1"],
    }
    assert LiteralMap.FromString(message or b"").literals["file"].scalar.blob.uri == "/in/file"


def test_files_keep_their_names_where_that_is_asked_for(store: ObjectStore) -> None:
    for uri in ("a/one.txt", "b/one.txt"):
        put(store, f"{BASE}/{uri}", uri.encode())
    one, other = blob(f"{BASE}/a/one.txt"), blob(f"{BASE}/b/one.txt")
    found = contents(filled(store, raw(layout="NAMED_DIR"), file=one, files=listed(one, other)))
    assert found["in/file/one.txt"] == b"a/one.txt"
    assert (found["in/files/one.txt"], found["in/files/1_one.txt"]) == (b"a/one.txt", b"b/one.txt")


@pytest.mark.parametrize(
    ("form", "documents"),
    [("JSON", {"inputs.json", "inputs.pb"}), ("YAML", {"inputs.yaml", "inputs.pb"}), ("PROTO", {"inputs.pb"})],
)
def test_all_inputs_are_in_a_document(store: ObjectStore, form: str, documents: set[str]) -> None:
    action = raw()
    assert action.task is not None
    action.task.task_template.container.data_config.format = DataLoadingConfig.LiteralMapFormat.Value(form)
    found = contents(filled(store, action, n=number(1)))
    assert found.keys() - {"in", "out", "in/n"} == {f"in/{name}" for name in documents}


def test_a_dataframe_is_the_folder_of_its_parts(store: ObjectStore) -> None:
    put(store, f"{BASE}/frame/00000.parquet", b"PAR1")
    frame = Literal()
    frame.scalar.structured_dataset.uri = f"{BASE}/frame"
    found = contents(filled(store, raw(), frame=frame))
    assert (found["in/frame"], found["in/frame/00000.parquet"]) == (None, b"PAR1")


def test_arguments_name_inputs(store: ObjectStore) -> None:
    put(store, f"{BASE}/f")
    arguments = ("--n={{.inputs.n}}", "{{ .Inputs.l }}", "{{.inputs.f}}", "{{.outputPrefix}}/{{.other}}")
    made = filled(store, raw(arguments), n=number(-1), l=listed(number(1), number(2)), f=blob(f"{BASE}/f"))
    assert made.arguments == ("--n=-1", "[1,2]", f"{BASE}/f", f"{BASE}/a0/1/{{{{.other}}}}")


@pytest.mark.parametrize(
    ("action", "inputs", "words"),
    [
        (raw(("{{.inputs.y}}",)), {"x": number(1)}, "needs an input `y`"),
        (raw(), {"x": blob(f"{BASE}/gone")}, "is gone: there is no object"),
        (raw(), {"x": blob("gs://theirs/file")}, "is not in the object store"),
        (raw(), {"x": blob("s3://flytebuild/../../etc/passwd")}, "is not a valid object name"),
        (raw(), {"x": Literal(map=LiteralMap(literals={"../../etc/passwd": number(1)}))}, "cannot be the name"),
        (raw(x=LiteralType(collection_type=NUMBER)), {}, "Output `x` is a `collection_type`"),
    ],
    ids=["unknown", "gone", "elsewhere", "outside", "key", "type"],
)
def test_what_no_container_is_started_for(
    store: ObjectStore, action: Action, inputs: dict[str, Literal], words: str
) -> None:
    with pytest.raises(OrderError, match=words):
        filled(store, action, **inputs)


def test_inputs_that_name_what_their_run_may_not_read(store: ObjectStore) -> None:
    ledger = Ledger()
    ledger.create_run(samples.run(), samples.action())
    ledger.create_run(samples.run("r2"), samples.action(run_name="r2"))
    raws = RawContainers(store, Reach(ledger, store).of)
    theirs = "s3://flytebuild/runs/r2/secret"
    put(store, theirs)
    put(store, "s3://flytebuild/uploads/folders/x/y")
    for value in (
        blob(theirs),
        blob("s3://flytebuild/runs/r2", FOLDER),
        blob("s3://flytebuild/uploads/folders", FOLDER),
    ):
        with pytest.raises(OrderError, match="which this run may not read"):
            filled(store, raw(), raws, x=value)
    put(store, f"{BASE}/own")
    assert contents(filled(store, raw(), raws, x=blob(f"{BASE}/own")))["in/x"] == b"content"


def archive(**members: bytes | str | None) -> Iterator[bytes]:
    """The archive of `/out` in small chunks: files, None for folders, text for links to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in {"": None, **members}.items():
            info = tarfile.TarInfo(f"out/{name}".rstrip("/"))
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    whole = buffer.getvalue()
    yield from (whole[start : start + 1000] for start in range(0, len(whole), 1000))


def collected(store: ObjectStore, action: Action, chunks: Iterator[bytes] | OSError) -> Failure | dict[str, Literal]:
    """The outputs, or why there are none."""

    async def fetch(path: str) -> Iterator[bytes]:
        assert path == "/out"
        if isinstance(chunks, OSError):
            raise chunks
        return chunks

    async def collect() -> Failure | dict[str, Literal]:
        attempt = samples.attempt()
        failure = await RawContainers(store).collect(samples.run(), action, attempt, fetch)
        if failure is not None:
            return failure
        message = Outputs.FromString(await store.read(f"{attempt.outputs}/outputs.pb") or b"")
        return {item.name: item.value for item in message.literals}

    return asyncio.run(collect())


def test_files_become_outputs(store: ObjectStore) -> None:
    found = collected(
        store,
        raw(n=NUMBER, file=FILE, folder=FOLDER),
        archive(n=b"7\n", file=b"a file", folder=None, **{"folder/deep": None, "folder/deep/part": b"p", "other": b""}),
    )
    data = f"{BASE}/a0/1/data"
    assert found == {"n": number(7), "file": blob(f"{data}/file"), "folder": blob(f"{data}/folder", FOLDER)}
    assert asyncio.run(store.read(f"{data}/file")) == b"a file"
    assert [entry.key for entry in store.entries("flytebuild", "runs/r1/a0/1/data/folder/")] == [
        "runs/r1/a0/1/data/folder/deep/part"
    ]


def test_without_outputs_nothing_is_fetched(store: ObjectStore) -> None:
    async def fetch(path: str) -> Iterator[bytes]:
        raise AssertionError(path)

    assert asyncio.run(RawContainers(store).collect(samples.run(), raw(), samples.attempt(), fetch)) is None


@pytest.mark.parametrize(
    ("kind", "found", "code", "words"),
    [
        (NUMBER, archive(), "OutputsUnusable", "ended without writing `x`"),
        (NUMBER, archive(x=b"seven"), "OutputsUnusable", "Output `x` cannot be read: invalid literal"),
        (NUMBER, archive(x=b"\xff"), "OutputsUnusable", "not written as UTF-8"),
        (NUMBER, archive(x=None), "OutputsUnusable", "is a folder, and the task says that it is a value"),
        (NUMBER, archive(x=b" " * (1 << 21)), "OutputsUnusable", "has 2097152 bytes, and a value may have 1048576"),
        (NUMBER, archive(_ERROR=b"why\n", x=b"1"), "OutputsUnusable", "The container reported an error: why"),
        (FILE, archive(x=None), "OutputsUnusable", "is a folder, and the task says that it is a file"),
        (FOLDER, archive(x=b""), "OutputsUnusable", "is a file, and the task says that it is a folder"),
        (FILE, archive(x="/etc/passwd"), "OutputsUnusable", "`x` is neither a file nor a folder"),
        (FOLDER, archive(x=None, **{"x/../../../up": b""}), "OutputsUnreachable", "is not a valid object name"),
        (NUMBER, FileNotFoundError("/out"), "OutputsMissing", "no folder `/out` any more"),
        (NUMBER, OSError("gone"), "OutputsUnreachable", "cannot be fetched: gone"),
        (NUMBER, iter([b"?" * 600]), "OutputsUnreachable", "cannot be fetched: the archive"),
    ],
    ids=[
        "missing",
        "no-number",
        "binary",
        "folder-value",
        "large",
        "error",
        "folder-file",
        "file-folder",
        "link",
        "outside",
        "removed",
        "engine",
        "broken",
    ],
)
def test_outputs_that_are_none(
    store: ObjectStore, kind: LiteralType, found: Iterator[bytes] | OSError, code: str, words: str
) -> None:
    failure = collected(store, raw(x=kind), found)
    assert isinstance(failure, Failure)
    assert failure.code == code
    assert words in failure.message

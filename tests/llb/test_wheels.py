"""Wheel layers in the graph: shared, airtight, and looked into by nobody without need."""

from __future__ import annotations

from msgspec.structs import replace

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.lower import beginning, lower, program_alone
from flytebuild.llb.marshal import in_order
from flytebuild.llb.outline import Place
from flytebuild.llb.state import State, Vertex
from flytebuild.llb.tail import is_apart
from flytebuild.llb.wheels import only_wheel, wheel_layer
from flytebuild.spec.layers import Command, Copy, Folder, LayerSpec, Pin, Pinned, WheelLayer
from flytebuild.spec.model import ImageSpec, SetEnv, SetWorkDir
from tests.samples import AMD64, BASE, UV, file_tree, made_of, put_on_top

NUMPY = Pin("numpy", "2.3.0", "numpy-2.3.0-cp311.whl", "6" * 64, "https://i.example/n/numpy-2.3.0-cp311.whl", 1)
SIX = Pin("six", "1.0", "six-1.0-py3.whl", "7" * 64, "https://i.example/s/six-1.0-py3.whl", 1)
TOOL = replace(UV, location="mirror.example/uv:0.13.4-python3.11-trixie-slim")
FILES = file_tree("main.py", "ab" * 32, 1)


def layer(*pins: Pin) -> WheelLayer:
    return WheelLayer(pins, TOOL, "3.11", AMD64, "/opt/venv")


def pinned(*layers: WheelLayer) -> Pinned:
    return Pinned(tuple(pin for item in layers for pin in item.pins), "layers", layers=layers)


def digests(state: State) -> set[str]:
    return {vertex.digest for vertex in in_order(state)}


def looks_into_wheels(state: State) -> list[str]:
    """The operations that need the files of a merge or of what is merged, by name."""
    merged = {vertex.digest for vertex in in_order(state) if _kind(vertex) in ("merge", "diff")}
    return [
        vertex.name
        for vertex in in_order(state)
        if _kind(vertex) in ("exec", "file") and any(item.vertex.digest in merged for item in vertex.inputs)
    ]


def _kind(vertex: Vertex) -> str | None:
    return vertex.operation.WhichOneof("op")


def image(*after: LayerSpec | SetWorkDir | SetEnv) -> State:
    return lower(made_of(pinned(layer(NUMPY), layer(SIX)), *after))


def untouched(*parts: LayerSpec | SetWorkDir | SetEnv) -> ImageSpec:
    return put_on_top(made_of(*parts))


def bases_read(state: State) -> list[str]:
    """The operations that need the files of the base, by name."""
    base = f"base {BASE.reference}"
    users = [vertex for vertex in in_order(state) if any(item.vertex.name == base for item in vertex.inputs)]
    return [vertex.name for vertex in users if _kind(vertex) not in ("merge", "diff")]


def test_a_base_with_an_environment_is_looked_into_by_nobody() -> None:
    spec = untouched(pinned(layer(NUMPY)), Pinned(()), SetEnv((("A", "1"),)), pinned(layer(SIX)))
    state = lower(spec)
    assert bases_read(state) == looks_into_wheels(state) == []
    assert [item.vertex.name for item in state.vertex.inputs] == [
        f"base {BASE.reference}",
        f"uv from {UV.reference}",
        "layer of wheel: numpy 2.3.0",
        "layer of wheel: six 1.0",
    ]
    assert beginning(spec) == program_alone(spec) == state.vertex.inputs[1]
    assert program_alone(made_of(pinned(layer(NUMPY)))) is None
    assert only_wheel(beginning(spec)) is None
    assert bases_read(image()) == [f"uv from {UV.reference}"]


def test_folders_and_files_look_into_the_base_alone() -> None:
    state = lower(untouched(pinned(layer(NUMPY)), SetWorkDir("/srv/app"), Copy(FILES, "/home/flyte")))
    assert bases_read(state) == ["folder /srv/app", "look at /home/flyte"]
    assert looks_into_wheels(state) == []
    beside = lower(untouched(pinned(layer(NUMPY)), Copy(FILES, "/usr/bin")))
    assert looks_into_wheels(beside) == []
    assert looks_into_wheels(lower(untouched(pinned(layer(NUMPY)), Copy(FILES, "/usr/bin/uv")))) == [
        "look at /usr/bin/uv"
    ]


def test_uv_is_the_same_layer_on_every_base() -> None:
    moved = untouched(pinned(layer(NUMPY)))
    moved = replace(moved, base=replace(BASE, digest="sha256:" + "9" * 64))
    assert beginning(moved) == beginning(untouched(pinned(layer(NUMPY)))) != beginning(made_of(pinned(layer(NUMPY))))


def test_a_builder_that_merges_nothing_copies_uv_onto_the_base() -> None:
    state = lower(untouched(pinned(layer(NUMPY))), can_merge=False)
    assert not [vertex.name for vertex in in_order(state) if _kind(vertex) in ("merge", "diff")]
    assert bases_read(state) == [f"uv from {UV.reference}"]


def test_a_layer_is_the_same_in_every_image() -> None:
    alone = wheel_layer(layer(NUMPY))
    moved = replace(BASE, digest="sha256:" + "9" * 64)
    for state in (
        image(),
        lower(made_of(SetEnv((("A", "1"),)), Command(shell="true"), pinned(layer(NUMPY)))),
        lower(made_of(pinned(layer(NUMPY)), base=moved)),
    ):
        assert digests(alone) <= digests(state)


def test_the_steps_have_no_network_and_nothing_of_the_sessions() -> None:
    for vertex in in_order(wheel_layer(layer(NUMPY, SIX))):
        step = vertex.operation.exec
        if _kind(vertex) == "exec":
            assert step.network == ops_pb2.NONE
            assert not step.secret_env
            assert not any(mount.HasField("secret_opt") for mount in step.mounts)
            assert not step.meta.HasField("proxy_env")


def test_wheels_are_fetched_by_digest_and_known_by_that() -> None:
    state = wheel_layer(layer(NUMPY))
    (source,) = [vertex for vertex in in_order(state) if vertex.name == f"download {NUMPY.filename}"]
    assert source.operation.source.identifier == NUMPY.url
    assert dict(source.operation.source.attrs) == {
        "http.checksum": f"sha256:{NUMPY.sha256}",
        "http.filename": NUMPY.filename,
        "http.perm": "0644",
    }
    (step,) = [vertex for vertex in in_order(state) if vertex.name == "wheel: numpy 2.3.0 (Python 3.11)"]
    (mount,) = [item for item in step.operation.exec.mounts if item.dest == f"/mnt/wheels/{NUMPY.filename}"]
    assert (mount.selector, mount.readonly, mount.content_cache) == (f"/{NUMPY.filename}", True, ops_pb2.OFF)


def test_what_runs_in_the_steps_is_no_part_of_histories() -> None:
    """They say the arguments of every step, in each image that has its layer."""
    steps = [item for item in in_order(wheel_layer(layer(NUMPY))) if _kind(item) == "exec"]
    assert len(steps) == 2
    for step in steps:
        assert list(step.operation.exec.meta.args[:4]) == ["python3", "-I", "-S", "/mnt/reproducible.py"]
        (mount,) = [item for item in step.operation.exec.mounts if item.dest == "/mnt/reproducible.py"]
        assert (mount.selector, mount.readonly, mount.content_cache) == ("/reproducible.py", True, ops_pb2.OFF)


def test_files_and_folders_that_go_elsewhere_look_into_no_wheel() -> None:
    assert looks_into_wheels(image()) == []
    assert looks_into_wheels(image(SetWorkDir("/srv/app"), Copy(FILES, "/home/flyte"))) == []
    assert looks_into_wheels(image(Folder("/opt/other"))) == []


def test_what_goes_where_wheels_are_is_put_on_top_of_them() -> None:
    assert len(looks_into_wheels(image(Folder("/opt/venv/share")))) == 1
    assert looks_into_wheels(image(Copy(FILES, "/opt/venv/share"))) != []


def test_a_command_after_them_runs_on_all_of_it() -> None:
    state = image(Command(shell="true"), pinned(layer(replace(SIX, version="2"))))
    assert looks_into_wheels(state) == ["run: true"]
    (merge,) = [vertex for vertex in in_order(state) if vertex.digest == state.vertex.digest]
    assert [item.vertex.name for item in merge.inputs] == ["run: true", "layer of wheel: six 2"]


def test_layers_of_several_declarations_are_merged_at_once_the_last_uppermost() -> None:
    state = lower(made_of(pinned(layer(NUMPY)), pinned(layer(SIX))))
    names = [item.vertex.name for item in state.vertex.inputs]
    assert names[1:] == ["layer of wheel: numpy 2.3.0", "layer of wheel: six 1.0"]


def test_a_layer_that_declarations_have_together_is_merged_once() -> None:
    both = layer(NUMPY, SIX)
    state = lower(made_of(Pinned((NUMPY,), "layers", layers=(both,)), Pinned((SIX,), "layers", layers=(both,))))
    assert state == lower(made_of(Pinned((NUMPY, SIX), "layers", layers=(both,))))


def test_a_builder_that_merges_nothing_installs_them_step_by_step() -> None:
    spec = made_of(pinned(layer(NUMPY), layer(SIX)))
    assert lower(spec, can_merge=False) == lower(made_of(Pinned((NUMPY, SIX))), can_merge=False)


def test_what_a_place_has_to_know() -> None:
    assert is_apart(Place("/"), "/opt/venv")
    assert is_apart(Place("/opt/venv2", frozenset(("lib",))), "/opt/venv")
    assert is_apart(Place("/opt", frozenset(("other",)), frozenset(("deep",))), "/opt/venv")
    assert not is_apart(Place("/opt/venv"), "/opt/venv")
    assert not is_apart(Place("/opt/venv/lib"), "/opt/venv")
    assert not is_apart(Place("/opt", frozenset(("venv",))), "/opt/venv")
    assert not is_apart(Place("/", frozenset(), frozenset(("opt",))), "/opt/venv")
    assert not is_apart(Place("/opt", frozenset(), frozenset(("venv/lib",))), "/opt/venv")

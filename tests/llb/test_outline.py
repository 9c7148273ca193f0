"""How an outline is asked for: once for equal questions, and never by the image's content."""

from __future__ import annotations

import json

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.file import Owner
from flytebuild.llb.outline import Place, Surveyor, outline
from flytebuild.llb.run import run
from flytebuild.llb.source import image
from flytebuild.llb.state import State
from flytebuild.spec.images import RuntimeConfig
from tests.samples import AMD64

BASE = image("r.example/base:1", AMD64, name="base")
CONTEXT = RuntimeConfig(env=(("PATH", "/bin"),), user="root", workdir="/somewhere")
IMAGE = run(BASE, ["true"], CONTEXT, AMD64, name="step")
SURVEYOR = Surveyor(BASE, "/opt/venv/bin/python", CONTEXT)


def drawn(*places: Place, usual: tuple[Place, ...] = (), owners: tuple[Owner, ...] = ()) -> State:
    return outline(IMAGE, places, usual, owners, SURVEYOR, AMD64)


def look(state: State) -> ops_pb2.ExecOp:
    (source,) = state.vertex.inputs
    return ops_pb2.Op.FromString(source.vertex.encoded).exec


def test_it_is_drawn_by_a_python_below_the_image_that_can_change_nothing() -> None:
    state = drawn(Place("/app"))
    source = state.vertex.inputs[0].vertex
    assert source.inputs == (BASE, IMAGE)
    assert source.name == "look at /app"
    step = look(state)
    assert list(step.meta.args[:4]) == ["/opt/venv/bin/python", "-I", "-S", "-c"]
    assert (step.meta.cwd, step.network) == ("/", ops_pb2.NONE)
    assert [(mount.dest, mount.readonly, mount.output) for mount in step.mounts] == [
        ("/", True, -1),
        ("/run/flytebuild-survey/image", True, -1),
        ("/run/flytebuild-survey/outline", False, 0),
    ]


def test_the_image_is_not_read_to_know_whether_it_was_drawn_before() -> None:
    assert [mount.content_cache for mount in look(drawn(Place("/app"))).mounts] == [
        ops_pb2.DEFAULT,
        ops_pb2.OFF,
        ops_pb2.DEFAULT,
    ]


def test_the_outline_itself_is_known_by_what_is_in_it() -> None:
    (action,) = ops_pb2.Op.FromString(drawn(Place("/app")).vertex.encoded).file.actions
    assert (action.input, action.secondary_input, action.copy.dir_copy_contents) == (-1, 0, True)
    # Whom things belong to and when they were changed is the image's.
    assert not action.copy.HasField("owner")
    assert (action.copy.mode, action.copy.timestamp) == (-1, -1)


def test_only_names_of_owners_are_looked_up() -> None:
    owners = (Owner("flyte", "flyte"), Owner("b"), Owner(1000), Owner("flyte", 5), Owner(0, "staff"))
    wanted = json.loads(look(drawn(Place("/app"), owners=owners)).meta.args[-1])
    assert (wanted["users"], wanted["groups"]) == (["b", "flyte"], ["flyte", "staff"])


def test_usual_places_are_looked_at_as_well() -> None:
    state = drawn(Place("/app"), usual=(Place("/"), Place("/app"), Place("/home")))
    wanted = json.loads(look(state).meta.args[-1])
    assert [path for path, *_ in wanted["places"]] == ["/", "/app", "/home"]
    assert state.vertex.name == "outline of /app"


def test_equal_questions_are_one_vertex() -> None:
    one, other = Place("/app", frozenset("ab"), frozenset("cd")), Place("/b")
    assert drawn(one, other, one) == drawn(other, Place("/app", frozenset("ba"), frozenset("dc")))
    assert drawn(one) != drawn(Place("/app", frozenset("abcd")))

"""Mounts and secrets of a step."""

import pytest

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.run import BindMount, CacheMount, SecretFile, SecretVariable, TmpfsMount, run
from flytebuild.llb.source import image, local
from flytebuild.llb.state import State
from flytebuild.spec.images import RuntimeConfig
from tests.samples import AMD64, file_tree

BASE = image("r.example/base:1", AMD64, name="base")
TREE = local(file_tree("a", "ab" * 32, 1), name="src/")


def step(**mounts: object) -> State:
    return run(BASE, ["true"], RuntimeConfig(), AMD64, name="step", **mounts)  # type: ignore[arg-type]


def operation(state: State) -> ops_pb2.ExecOp:
    return ops_pb2.Op.FromString(state.vertex.encoded).exec


def test_the_order_in_which_mounts_are_given_changes_nothing() -> None:
    binds = (BindMount("/src/a", TREE), BindMount("/src", BASE))
    made = step(binds=binds, caches=(CacheMount("/cache", "c"),), tmpfs=(TmpfsMount("/src/a/tmp"),))
    again = step(binds=binds[::-1], caches=(CacheMount("/cache", "c"),), tmpfs=(TmpfsMount("/src/a/tmp"),))
    assert made.vertex.encoded == again.vertex.encoded
    # A folder is mounted before what is mounted in it.
    assert [mount.dest for mount in operation(made).mounts] == ["/", "/cache", "/src", "/src/a", "/src/a/tmp"]


def test_a_state_is_one_input_however_often_it_is_mounted() -> None:
    made = step(binds=(BindMount("/a", TREE, "/x"), BindMount("/b", TREE), BindMount("/c", BASE)))
    assert made.vertex.inputs == (BASE, TREE)
    assert [(mount.input, mount.selector) for mount in operation(made).mounts] == [(0, ""), (1, "/x"), (1, ""), (0, "")]


def test_what_a_step_writes_to_a_bind_mount_is_no_output() -> None:
    made = step(binds=(BindMount("/ro", TREE), BindMount("/rw", TREE, writable=True)))
    _, read_only, writable = operation(made).mounts
    assert (read_only.readonly, read_only.output) == (True, -1)
    assert (writable.readonly, writable.output) == (False, -1)


def test_secrets_are_optional_unless_required() -> None:
    files = (SecretFile("/a", "x"), SecretFile("/b", "y", required=True, uid=7, gid=8, mode=0o400))
    made = operation(step(files=files, variables=(SecretVariable("A", "x"), SecretVariable("B", "y", required=True))))
    one, other = (mount.secret_opt for mount in made.mounts[1:])
    assert (one.optional, one.mode, one.uid) == (True, 0o444, 0)
    assert (other.optional, other.mode, other.uid, other.gid) == (False, 0o400, 7, 8)
    assert [(item.name, item.optional) for item in made.secret_env] == [("A", True), ("B", False)]


def test_two_mounts_at_one_place_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="same target"):
        step(binds=(BindMount("/a", TREE),), tmpfs=(TmpfsMount("/a", 1024),))

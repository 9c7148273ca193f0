"""File operations: how actions are numbered, who owns what they make, and that order never depends on chance."""

import pytest

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.file import FIXED_TIME, Copy, MakeFile, MakeFolder, Owner, change, copy, make_files, make_folder
from flytebuild.llb.source import image, local
from flytebuild.llb.state import State
from tests.samples import AMD64, file_tree

BASE = image("r.example/base:1", AMD64, name="base")
TREE = local(file_tree("a", "ab" * 32, 1), name="src/")


def actions(state: State) -> list[ops_pb2.FileAction]:
    return list(ops_pb2.Op.FromString(state.vertex.encoded).file.actions)


def numbers(state: State) -> list[tuple[int, int, int]]:
    return [(item.input, item.secondary_input, item.output) for item in actions(state)]


def test_actions_follow_each_other_and_only_the_last_one_s_result_is_kept() -> None:
    made = change(
        BASE,
        (MakeFolder("/a"), Copy(TREE, "/", "/a", contents_only=True), MakeFile("/a/b", b"x")),
        AMD64,
        name="step",
    )
    assert made.vertex.inputs == (BASE, TREE)
    assert numbers(made) == [(0, -1, -1), (2, 1, -1), (3, -1, 0)]


def test_nothing_can_be_what_is_changed() -> None:
    made = change(None, (Copy(TREE, "/", "/a"), Copy(TREE, "/", "/b")), AMD64, name="step")
    assert made.vertex.inputs == (TREE,)
    assert numbers(made) == [(-1, 0, -1), (1, 0, 0)]
    assert change(None, (MakeFolder("/a"),), AMD64, name="step").vertex.inputs == ()
    with pytest.raises(ValueError, match="needs an action"):
        change(BASE, (), AMD64, name="step")


def test_a_copy_keeps_modes_and_times_unless_told_otherwise() -> None:
    (kept,) = actions(copy(BASE, TREE, "/x", "/y", AMD64, name="step"))
    assert (kept.copy.mode, kept.copy.timestamp, kept.copy.follow_symlink) == (-1, -1, False)
    (set_,) = actions(copy(BASE, TREE, "/x", "/y", AMD64, name="step", mode=0o600, time=FIXED_TIME))
    assert (set_.copy.mode, set_.copy.timestamp) == (0o600, FIXED_TIME * 10**9)


def test_numbers_need_no_lookup_and_a_user_s_group_is_its_own_number() -> None:
    def owner(given: Owner) -> tuple[int, int]:
        (action,) = actions(make_folder(None, "/a", AMD64, name="step", owner=given))
        return action.mkdir.owner.user.by_id, action.mkdir.owner.group.by_id

    assert owner(Owner()) == (0, 0)
    assert owner(Owner(1000)) == (1000, 1000)
    assert owner(Owner(1000, 5)) == (1000, 5)


def test_names_are_looked_up_in_what_is_changed_or_in_another_state() -> None:
    (action,) = actions(copy(BASE, TREE, "/", "/a", AMD64, name="step", owner=Owner("flyte")))
    assert (action.copy.owner.user.by_name.name, action.copy.owner.user.by_name.input) == ("flyte", 0)
    assert not action.copy.owner.HasField("group")
    made = copy(None, TREE, "/", "/a", AMD64, name="step", owner=Owner("flyte", "staff", of=BASE))
    assert made.vertex.inputs == (TREE, BASE)
    (action,) = actions(made)
    assert (action.copy.owner.user.by_name.input, action.copy.owner.group.by_name.input) == (1, 1)
    with pytest.raises(ValueError, match="`flyte` is a name"):
        copy(None, TREE, "/", "/a", AMD64, name="step", owner=Owner("flyte"))


def test_files_are_made_in_one_order_with_their_folders() -> None:
    files = {"/b/y": b"2", "/b/x": b"1", "/top": b"0"}
    made = make_files(None, files, AMD64, name="step")
    again = make_files(None, dict(reversed(files.items())), AMD64, name="step")
    assert made.vertex.encoded == again.vertex.encoded
    assert [item.mkdir.path or item.mkfile.path for item in actions(made)] == ["/b", "/b/x", "/b/y", "/top"]
    assert all((item.mkdir.timestamp or item.mkfile.timestamp) == FIXED_TIME * 10**9 for item in actions(made))

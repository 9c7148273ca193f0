"""Locks as values and as files: what they make of images, what is drift, in what two of them differ."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flytebuild.errors import LockChangedError, OutputError, UsageError
from flytebuild.spec.digests import digests
from flytebuild.spec.layers import Pin, Pinned, PipOptions, Requirements, UvProject
from flytebuild.spec.model import ImageSpec
from flytebuild.wheels import lockfile
from flytebuild.wheels.drift import drift
from flytebuild.wheels.lock import Lock, LockedImage, LockedLayer, UnlockedLayer, apply, merged, order
from flytebuild.wheels.moved import moved
from flytebuild.wheels.pylock import without_credentials
from flytebuild.wheels.questions import questions
from tests.samples import AMD64, ARM64, BASE, file_tree, made_of, pip

SIX = Pin("six", "1.16.0", "six-1.16.0-py2.py3-none-any.whl", "6" * 64, "https://i/six.whl", 11)
RICH = Pin("rich", "15.0.0", "rich-15.0.0-py3-none-any.whl", "7" * 64, "https://i/rich.whl")


def locked(spec: ImageSpec, number: int = 0, *pins: Pin, **fields: object) -> LockedLayer:
    """The entry for one of the questions of an image."""
    question = questions(spec)[number]
    found = LockedLayer(question.layer.summary, str(spec.platform), question.fingerprint, ("env",), pins)
    return replace(found, **fields)  # type: ignore[arg-type]


def test_locked_layers_take_the_place_of_those_that_were_asked_for() -> None:
    spec = made_of(pip("six", index_url="https://i/s", pre=True), pip("rich"))
    lock = Lock(layers=(locked(spec, 0, SIX, python="3.11", replaces=("six",), obstacle="odd"), locked(spec, 1, RICH)))
    made, left = apply({"env": {AMD64: spec}}, lock)
    one, other = (step.layer for step in made["env"][AMD64].steps[-2:])
    assert isinstance(one, Pinned)
    assert (one.pins, one.options, one.asked) == ((SIX,), PipOptions("https://i/s"), spec.steps[-2].layer)
    assert (one.python, one.replaces, one.obstacle) == ("3.11", ("six",), "odd")
    assert (one.summary, other.summary) == ("pip: six", "pip: rich")
    assert left == ()
    assert made["env"][AMD64].steps[:-2] == spec.steps[:-2]


def test_a_requirements_file_s_indexes_are_installed_from() -> None:
    layer = Requirements(
        file_tree("r.txt", "0" * 64, 1), "r.txt", PipOptions(extra_args="--index-strategy first-index")
    )
    spec = made_of(layer)
    entry = locked(spec, 0, SIX, where=("--extra-index-url", "https://e/s"))
    made, _ = apply({"env": {AMD64: spec}}, Lock(layers=(entry,)))
    pinned = made["env"][AMD64].steps[-1].layer
    assert isinstance(pinned, Pinned)
    assert pinned.options == PipOptions(extra_index_urls=("https://e/s",), extra_args="--index-strategy first-index")


def test_what_a_project_s_wheels_are_installed_from_is_in_the_lock() -> None:
    layer = UvProject("dependencies_only", file_tree("uv.lock", "0" * 64, 1), True, options=PipOptions(extra_args="-q"))
    spec = made_of(layer)
    made, _ = apply(
        {"env": {AMD64: spec}}, Lock(layers=(locked(spec, 0, SIX, where=("--default-index", "https://i/s")),))
    )
    pinned = made["env"][AMD64].steps[-1].layer
    assert isinstance(pinned, Pinned)
    assert (pinned.asked, pinned.options) == (layer, PipOptions(extra_args="--default-index https://i/s"))


def test_what_changed_since_is_drift_and_so_is_all_above() -> None:
    before, after = made_of(pip("six"), pip("rich")), made_of(pip("six>1"), pip("rich"))
    lock = Lock(layers=(locked(before, 0, SIX), locked(before, 1, RICH)))
    made, left = apply({"env": {AMD64: after}}, lock)
    assert made["env"][AMD64] == after
    assert [(item.question.layer.summary, item.is_drift) for item in left] == [
        ("pip: six>1", True),
        ("pip: rich", True),
    ]


def drifted(lock: Lock, **specs: ImageSpec) -> list[str]:
    """What is told of images that a lock does not have."""
    wanted = {name: {AMD64: spec} for name, spec in specs.items()}
    return list(drift(wanted, lock, apply(wanted, lock)[1]))


def test_drift_is_told_by_the_layer_the_environments_and_what_has_changed() -> None:
    file = Requirements(file_tree("r.txt", "0" * 64, 1), "r.txt")
    edited = replace(file, tree=file_tree("r.txt", "1" * 64, 1))
    before = made_of(pip("six==1.16.0", "rich"), pip("attrs"))
    lock = Lock(layers=(locked(before, 0, SIX), locked(before, 1, RICH)))
    here = "(main.py:1) of `env`"
    assert drifted(lock, env=before) == []
    assert drifted(lock, env=made_of(pip("six==1.17.0", "rich"), pip("attrs"))) == [
        f"`pip: six==1.17.0, rich` {here} (six 1.16.0 → 1.17.0 since it was locked) and what is on top of it"
    ]
    assert drifted(Lock(layers=(locked(made_of(file), 0, SIX),)), env=made_of(edited)) == [
        f"`requirements: r.txt` {here} (what it reads, or what is below it, has changed since it was locked)"
    ]
    project = UvProject("dependencies_only", file_tree("uv.lock", "0" * 64, 1), locked=True)
    relocked = replace(project, tree=file_tree("uv.lock", "1" * 64, 1))
    assert drifted(Lock(layers=(locked(made_of(project), 0, SIX),)), env=made_of(relocked)) == [
        f"`uv project: dependencies` {here} (what it reads, or what is below it, has changed since it was locked)"
    ]
    assert drifted(lock, env=made_of(pip("six==1.16.0", "rich"), pip("attrs"), pip("mdurl"))) == [
        "`pip: mdurl` (main.py:3) of `env`"
    ]
    assert drifted(Lock(), one=before, two=before) == [
        "`pip: six==1.16.0, rich` (main.py:1) of `one`, `two` and what is on top of it"
    ]


def test_a_layer_on_top_of_locked_ones_is_drift_alone() -> None:
    before, after = made_of(pip("six")), made_of(pip("six"), pip("rich"))
    made, left = apply({"env": {AMD64: after}}, Lock(layers=(locked(before, 0, SIX),)))
    assert isinstance(made["env"][AMD64].steps[-2].layer, Pinned)
    assert [item.question.shown for item in left] == ["`pip: rich` (main.py:2)"]


def test_what_cannot_be_locked_is_no_drift() -> None:
    spec = made_of(pip("docopt"), pip("git+https://e/x"), pip("six"))
    question = questions(spec)[0]
    entry = UnlockedLayer("pip: docopt", "linux/amd64", question.fingerprint, ("env",), "it has no wheel")
    made, left = apply({"env": {AMD64: spec}}, Lock(unlocked=(entry,)))
    assert made["env"][AMD64] == spec
    assert [step.obstacle for step in made["env"][AMD64].steps[-3:]] == [
        "it has no wheel",
        "`git+https://e/x` is not a version of an index",
        "`pip: git+https://e/x` below it is not locked",
    ]
    assert [item.is_drift for item in left] == [False, False, False]
    assert left[0].reason == "it has no wheel"


def test_a_lock_is_for_its_platform() -> None:
    spec = made_of(pip("six"))
    other = made_of(pip("six"), platform=ARM64)
    _, left = apply({"env": {ARM64: other}}, Lock(layers=(locked(spec, 0, SIX),)))
    assert [item.is_drift for item in left] == [True]


def test_equal_pins_are_equal_images_wherever_they_come_from() -> None:
    spec = made_of(pip("six"))
    one, other = (
        apply({"env": {AMD64: spec}}, Lock(layers=(locked(spec, 0, pin),)))[0]["env"][AMD64]
        for pin in (SIX, replace(SIX, url="https://mirror/six.whl", size=None))
    )
    assert digests(one) == digests(other)


def test_a_lock_for_some_environments_keeps_what_it_has_of_others() -> None:
    spec, other = made_of(pip("six")), made_of(pip("rich"))
    shared = locked(spec, 0, SIX, environments=("a", "b"))
    before = Lock("0.1", (LockedImage("x:1", "linux/amd64", "sha256:1"),), (shared, locked(other, 0, RICH)))
    new = replace(shared, environments=("a",), pins=(replace(SIX, version="1.17.0"),))
    here = frozenset({"linux/amd64"})
    after = merged(before, Lock("0.2", (), (new,)), here, frozenset({"a"}))
    assert after.uv == "0.2"
    assert [image.reference for image in after.images] == ["x:1"]
    assert [(layer.asked, layer.environments) for layer in after.layers] == [
        ("pip: rich", ("env",)),
        ("pip: six", ("a", "b")),
    ]
    assert merged(before, Lock("0.2"), here, frozenset({"env", "a", "b"})).layers == ()
    assert merged(before, Lock("0.2"), here) == Lock("0.2")


def test_a_lock_for_some_platforms_keeps_what_it_has_of_others() -> None:
    one, other = made_of(pip("six")), made_of(pip("six"), platform=ARM64)
    images = [LockedImage("x:1", platform, "sha256:1") for platform in ("linux/amd64", "linux/arm64")]
    before = Lock("0.1", tuple(images), (locked(one, 0, SIX), locked(other, 0, SIX)))
    new = locked(one, 0, replace(SIX, version="1.17.0"))
    after = merged(before, Lock("0.2", (replace(images[0], digest="sha256:2"),), (new,)), frozenset({"linux/amd64"}))
    assert [image.digest for image in after.images] == ["sha256:2", "sha256:1"]
    assert [(layer.platform, layer.pins[0].version) for layer in after.layers] == [
        ("linux/amd64", "1.17.0"),
        ("linux/arm64", "1.16.0"),
    ]


def test_differences_are_told_by_names() -> None:
    spec = made_of(pip("six"))
    images = (LockedImage(BASE.reference, "linux/amd64", "sha256:" + "1" * 64),)
    before = Lock("", images, (locked(spec, 0, SIX, RICH),))
    after = Lock(
        "",
        (replace(images[0], digest="sha256:" + "2" * 64),),
        (locked(spec, 0, replace(SIX, version="1.17.0"), replace(RICH, name="mdurl", version="0.1.2")),),
    )
    assert [item.words for item in moved(before, after)] == [
        f"{BASE.reference} (linux/amd64) sha256:111111111111… → sha256:222222222222…",
        "mdurl 0.1.2 is new",
        "rich 15.0.0 is gone",
        "six 1.16.0 → 1.17.0",
    ]
    assert moved(before, before) == ()


def test_another_file_by_the_same_name_is_told() -> None:
    spec = made_of(pip("six"))
    before = Lock("", (), (locked(spec, 0, SIX, RICH),))
    after = Lock("", (), (locked(spec, 0, replace(SIX, sha256="9" * 64), RICH),))
    (item,) = moved(before, after)
    assert item.words == f"{SIX.filename} sha256:{SIX.sha256[:12]}… → sha256:999999999999…"
    assert (item.before, item.after) == (f"sha256:{SIX.sha256}", f"sha256:{'9' * 64}")


def test_a_base_that_is_known_to_be_ready_is_told_since_its_images_are_others() -> None:
    unknown = LockedImage(BASE.reference, "linux/amd64", "sha256:" + "1" * 64)
    ready, other = replace(unknown, is_ready=True), replace(unknown, is_ready=False)
    (change,) = moved(Lock("", (unknown,)), Lock("", (ready,)))
    assert (change.before, change.after) == ("not known to be ready", "ready")
    assert change.words.startswith(f"{BASE.reference} (linux/amd64) is known to be ready: its images are put on top")
    (change,) = moved(Lock("", (ready,)), Lock("", (other,)))
    assert change.words.startswith(f"{BASE.reference} (linux/amd64) is not known to be ready any more")
    # One that is not ready is put under images as one of which that is not known; one that moved is another one anyway.
    assert moved(Lock("", (unknown,)), Lock("", (other,))) == ()
    (change,) = moved(Lock("", (unknown,)), Lock("", (replace(ready, digest="sha256:" + "2" * 64),)))
    assert change.after == "sha256:" + "2" * 64


def test_what_cannot_be_locked_any_more_is_not_called_gone() -> None:
    old, new = made_of(pip("docopt==0.6.1")), made_of(pip("docopt==0.6.2"))
    docopt = replace(SIX, name="docopt", version="0.6.1")
    entry = locked(old, 0, docopt, RICH)
    unlocked = UnlockedLayer("pip: docopt==0.6.2", "linux/amd64", questions(new)[0].fingerprint, ("env",), "no wheel")
    before, after = Lock("", (), (entry,)), Lock("", (), (), (unlocked,))
    assert [item.words for item in moved(before, after)] == [
        "docopt 0.6.1 is not locked any more: `pip: docopt==0.6.2` cannot be",
        "rich 15.0.0 is not locked any more: `pip: docopt==0.6.2` cannot be",
    ]
    # One that could not be before either, or of another environment, is not what they were in.
    for other in (replace(before, unlocked=(unlocked,)), Lock("", (), (replace(entry, environments=("other",)),))):
        assert [item.words for item in moved(other, after)] == ["docopt 0.6.1 is gone", "rich 15.0.0 is gone"]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1, max_size=4)
NAMES = st.lists(TEXT, max_size=2).map(tuple)
FINGERPRINTS = st.integers(0, 99).map(lambda number: f"{number:032x}")
PINS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from("67")).map(
    lambda found: Pin(found[0], "1", f"{found[0]}-1-py3-none-any.whl", found[1] * 64, "https://x/", int(found[1]))
)
LOCKS = st.builds(
    Lock,
    TEXT,
    st.lists(st.builds(LockedImage, TEXT, TEXT, TEXT, st.none() | st.booleans()), max_size=3, unique_by=order).map(
        lambda found: tuple(sorted(found, key=order))
    ),
    st.lists(st.builds(LockedLayer, TEXT, TEXT, FINGERPRINTS, NAMES, st.lists(PINS, max_size=2).map(tuple), NAMES),
             max_size=3, unique_by=order).map(lambda found: tuple(sorted(found, key=order))),
    st.lists(st.builds(UnlockedLayer, TEXT, TEXT, FINGERPRINTS, NAMES, TEXT), max_size=3, unique_by=order).map(
        lambda found: tuple(sorted(found, key=order))
    ),
)  # fmt: skip


@settings(max_examples=200)
@given(LOCKS)
def test_a_file_holds_all_of_a_lock(lock: Lock) -> None:
    text = lockfile.encode(lock)
    assert lockfile.decode(text, "x") == lock
    assert lockfile.encode(lockfile.decode(text, "x")) == text


def test_wheels_are_described_once_and_told_apart_by_their_hashes() -> None:
    spec = made_of(pip("six"), pip("rich"))
    other = replace(SIX, sha256="8" * 64)
    lock = Lock("", (), (locked(spec, 0, SIX, RICH), locked(spec, 1, SIX, other)))
    text = lockfile.encode(lock)
    assert text.count("[[wheel]]") == 3
    assert 'id = "six-1.16.0-py2.py3-none-any.whl#888888888888"' in text
    found = lockfile.decode(text, "x")
    assert {layer.asked: layer.pins for layer in found.layers} == {"pip: six": (SIX, RICH), "pip: rich": (SIX, other)}
    assert found.layers[0].pins[0].url == SIX.url


@pytest.mark.parametrize("modules", [None, (), ("six",), ("google.rpc", "google.type")])
def test_a_file_tells_the_modules_of_wheels_where_they_are_known(modules: tuple[str, ...] | None) -> None:
    layer = locked(made_of(pip("six")), 0, replace(SIX, modules=modules))
    text = lockfile.encode(Lock("", (), (layer,)))
    assert lockfile.decode(text, "x").layers[0].pins[0].modules == modules
    assert ("modules = " in text) == (modules is not None)


def test_what_is_noted_of_wheels_is_news_to_a_file() -> None:
    made = made_of(pip("six"))
    bare, told = (Lock("", (), (locked(made, 0, replace(SIX, modules=item)),)) for item in (None, ("six",)))
    assert bare == told
    assert lockfile.differs(bare, told)
    assert lockfile.differs(None, bare)
    assert not lockfile.differs(told, lockfile.decode(lockfile.encode(told), "x"))


def test_a_lock_takes_the_place_of_the_one_that_it_was_made_from_only(tmp_path: Path) -> None:
    file = tmp_path / "flytebuild.lock"
    mine, other = Lock("1"), Lock("2")
    lockfile.exchange(file, None, mine)
    lockfile.exchange(file, mine, other)
    for before in (mine, None):
        with pytest.raises(LockChangedError) as caught:
            lockfile.exchange(file, before, mine)
        assert caught.value.exit_code == 75
    assert lockfile.read(file) == other


def _with_layer(last: str) -> str:
    head = "asked = 'a'\nplatform = 'p'\nfingerprint = 'f'\nenvironments = []"
    return f"version = 1\nuv = '1'\n[[layer]]\n{head}\n{last}\n"


def _with_wheel(last: str) -> str:
    return f"version = 1\nuv = '1'\n[[wheel]]\nname = 'a'\nversion = '1'\nfilename = 'a.whl'\n{last}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 1\nuv = [", "`x` is not a lock"),
        ("version = 2", "is a lock of version 2, and this flytebuild reads 1"),
        ("", "`x` is not a lock: it has no `version`"),
        ("version = 1\n<<<<<<< HEAD\nuv = '1'\n", "`x` has the marks of a conflict, from line 2 on"),
        ("version = 1\nuv = '1'\n=======\nuv = '2'\n", "`x` has the marks of a conflict, from line 3 on"),
        ("version = 1\nuv = '1'\n[[layer]]\nasked = 'a'", "`x` is damaged: `platform` is missing"),
        (_with_layer("wheels = ['a.whl']"), "`x` is damaged: `a.whl` is missing"),
        (_with_wheel("sha256 = 'abc'"), "`x` is damaged: the `sha256` of `a.whl` has no 64 hex digits"),
        (
            "version = 1\nuv = '1'\n[[image]]\nreference = 'a'\nplatform = 'p'\ndigest = 'd'\nready = 'yes'",
            "`x` is damaged: the `ready` of `a` is neither true nor false",
        ),
        ("version = 1\nuv = '1'\nlayer = 1", "`x` is damaged"),
    ],
)
def test_a_file_that_is_no_lock_says_what_to_do(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        lockfile.decode(text, "x")
    assert "`flytebuild lock`" in (caught.value.hint or "")


def test_a_file_of_other_bytes_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "flytebuild.lock").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is no text"):
        lockfile.read(tmp_path / "flytebuild.lock")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "flytebuild.lock"
    assert lockfile.read(file) is None
    lockfile.write(file, Lock("0.1"))
    assert lockfile.read(file) == Lock("0.1")
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(OutputError):
        lockfile.write(tmp_path / "nowhere" / "flytebuild.lock", Lock())
    (tmp_path / "folder.lock").mkdir()
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        lockfile.read(tmp_path / "folder.lock")
    with pytest.raises(OutputError):
        lockfile.write(tmp_path / "folder.lock", Lock())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flytebuild.lock", "folder.lock"]


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://user:p%40ss@i.example/simple/x.whl#sha256=1", "https://i.example/simple/x.whl"),
        ("https://token@i.example/x.whl?X-Signature=s@cret", "https://i.example/x.whl"),
        ("https://i.example/a@b/x.whl", "https://i.example/a@b/x.whl"),
        ("file:///wheels/x.whl", "file:///wheels/x.whl"),
    ],
)
def test_where_a_wheel_was_found_has_no_credentials(url: str, kept: str) -> None:
    assert without_credentials(url) == kept

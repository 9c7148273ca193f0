"""What layers ask, what moves their fingerprints, and why some cannot be locked."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.layers import (
    AptPackages,
    Command,
    Copy,
    LocalPackage,
    PipOptions,
    PixiProject,
    PoetryProject,
    Requirements,
    Secret,
    UvProject,
    Wheels,
)
from flytebuild.spec.model import ImageSpec, Part, SetEnv, SetWorkDir
from flytebuild.wheels import projects
from flytebuild.wheels.questions import Question, questions
from tests.samples import ARM64, BASE, UV, file_tree, made_of, pip
from tests.spec.strategies import PARTS

TREE = file_tree("requirements.txt", "0" * 64, 1)
OTHER_TREE = file_tree("requirements.txt", "1" * 64, 1)


def project(**options: object) -> UvProject:
    return UvProject("dependencies_only", TREE, True, options=PipOptions(**options))  # type: ignore[arg-type]


def asked(*parts: Part, **fields: object) -> tuple[Question, ...]:
    return questions(made_of(*parts, **fields))  # type: ignore[arg-type]


def last(*parts: Part, **fields: object) -> str:
    return asked(*parts, **fields)[-1].fingerprint


@pytest.mark.parametrize(
    "other",
    [
        lambda: last(pip("b"), pip("a")),
        lambda: last(pip("a"), pip("b")),
        lambda: last(pip("a>1")),
        lambda: last(pip("a", pre=True)),
        lambda: last(pip("a", index_url="https://i/s")),
        lambda: last(SetEnv((("UV_EXTRA_INDEX_URL", "https://i/s"),)), pip("a")),
        lambda: last(pip("a"), platform=ARM64),
        lambda: last(pip("a"), python="3.13"),
        lambda: last(pip("a"), base=replace(BASE, digest="sha256:" + "9" * 64)),
        lambda: last(Requirements(TREE, "requirements.txt")),
    ],
)
def test_what_decides_versions_moves_the_fingerprint(other: Callable[[], str]) -> None:
    assert other() != last(pip("a"))


@pytest.mark.parametrize(
    "other",
    [
        lambda: last(Copy(TREE, "/app"), pip("a")),
        lambda: last(Command(shell="apt-get install -y git"), pip("a")),
        lambda: last(AptPackages(("gcc",)), SetWorkDir("/srv"), pip("a")),
        lambda: last(SetEnv((("TOKEN", "x"), ("UV_LINK_MODE", "copy"))), pip("a")),
        lambda: last(pip("a"), uv=replace(UV, digest="sha256:" + "9" * 64)),
        lambda: last(pip("a"), base=replace(BASE, location="mirror/x@sha256:" + "1" * 64)),
        lambda: last(pip(), pip("a")),
    ],
)
def test_what_does_not_stays_out_of_it(other: Callable[[], str]) -> None:
    assert other() == last(pip("a"))


def test_layers_on_top_of_equal_ones_ask_the_same() -> None:
    one, other = asked(pip("a"), pip("b")), asked(pip("a"), pip("c"))
    assert one[0].fingerprint == other[0].fingerprint != one[1].fingerprint
    assert (one[0].below, one[1].below) == ((), (one[0].fingerprint,))


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (pip("git+https://example.com/a"), "`git+https://example.com/a` is not a version of an index"),
        (pip("a @ https://example.com/a-1-py3-none-any.whl"), "is not a version of an index"),
        (pip("./a-1-py3-none-any.whl"), "is not a version of an index"),
        (pip("a", extra_args="--reinstall"), "what `--reinstall` does"),
        (Wheels("a", TREE), "its folder of wheels says which version it is"),
        (UvProject("dependencies_only", TREE, locked=False), "it has no `uv.lock`, which `uv lock` makes"),
        (UvProject("install_project", TREE, locked=True), "it installs the project itself"),
        (UvProject("dependencies_only", TREE, True, (LocalPackage("../lib", TREE),)), "`../lib` is a folder"),
        (project(secrets=(Secret("", "token", env="TOKEN"),)), "it is given a secret"),
        (project(index_url="https://i/s"), "its options do as well"),
        (project(pre=True), "its options do as well"),
        (project(extra_args="--package x"), "what `--package` does"),
        (project(extra_args="--compile-bytecode"), "what `--compile-bytecode` does"),
        (project(extra_args="--upgrade"), "what `--upgrade` does"),
        (project(extra_args="--group $X"), "`$` in its `extra_args` means something to a shell"),
        (PoetryProject("dependencies_only", TREE, "2.2.1"), "it is a project of Poetry"),
        (PixiProject("pixi.toml", "default", True, TREE), "it is a project of pixi"),
    ],
)
def test_layers_that_cannot_be_locked_keep_those_above_from_it(part: Part, reason: str) -> None:
    first, second = asked(part, pip("b"))
    assert reason in first.reason
    assert second.reason == f"`{first.layer.summary}` below it is not locked"


@pytest.mark.parametrize(
    "part",
    [
        Command(shell="pip install x"),
        Command(args=("uv", "sync")),
        Command(shell="touch /opt/venv/lib/x"),
        Copy(TREE, "/opt/venv/lib/python3.11/site-packages"),
    ],
)
def test_what_may_change_packages_keeps_layers_above_from_it(part: Part) -> None:
    below, above = asked(pip("a"), part, pip("b"))
    assert below.reason == ""
    assert "below it may" in above.reason
    assert above.fingerprint != last(pip("a"), pip("b")), "an image without it is not kept from it"


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", ("--locked",)),
        ("--frozen --no-dev -q", ("--frozen", "--no-dev")),
        ("--locked --group a --only-group='b c' --inexact", ("--locked", "--group", "a", "--only-group", "b c")),
        ("--all-extras --no-extra x --no-editable", ("--locked", "--all-extras", "--no-extra", "x")),
    ],
)
def test_a_project_with_a_lock_is_asked_for_what_is_chosen_of_it(text: str, chosen: tuple[str, ...]) -> None:
    layer = project(extra_args=text)
    (question,) = asked(layer)
    assert (question.reason, projects.choice(layer)) == ("", chosen)
    assert (question.fingerprint == last(project())) == (not text)
    (question,) = asked(SetEnv((("VIRTUAL_ENV", "/srv/venv"),)), layer)
    assert question.reason == "it is installed into `/srv/venv`"


def test_variables_that_are_not_understood() -> None:
    (question,) = asked(SetEnv((("UV_CONSTRAINT", "/c.txt"),)), pip("a"))
    assert question.reason == "what the variable `UV_CONSTRAINT` does is known only while the image is built"
    (question,) = asked(SetEnv((("UV_PYTHON", "/usr/bin/python3"),)), pip("a"))
    assert question.reason == "it is installed into `/usr/bin/python3`"
    (question,) = asked(SetEnv((("UV_PRERELEASE", "allow"), ("UV_HTTP_TIMEOUT", "9"))), pip("a"))
    assert (question.reason, question.variables) == ("", {"UV_PRERELEASE": "allow"})


def test_nothing_is_asked_where_the_base_is_not_known() -> None:
    assert asked(pip("a"), base=ResolvedImage(BASE.reference, "", problem="?")) == ()
    assert questions(ImageSpec("n", None, ARM64, None, (), BASE.config)) == ()


@settings(max_examples=200)
@given(st.lists(PARTS, max_size=4), PARTS)
def test_a_layer_on_top_moves_no_question_below(parts: list[Part], part: Part) -> None:
    before, after = asked(*parts), asked(*parts, part)
    assert after[: len(before)] == before
    assert len({question.fingerprint for question in after}) == len(after)

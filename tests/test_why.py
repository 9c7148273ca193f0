"""Two images compared: every difference is told, in words that name what to look at."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flytebuild.spec.composition import Composition, composition
from flytebuild.spec.digests import digests
from flytebuild.spec.images import ResolvedImage
from flytebuild.spec.layers import (
    AptPackages,
    Command,
    Copy,
    LayerSpec,
    Listed,
    LocalPackage,
    Pin,
    Pinned,
    PoetryProject,
    Requirements,
    UvProject,
    WheelLayer,
    folder_of,
    listed_of,
    trees_of,
)
from flytebuild.spec.model import ImageSpec, Part, RunAs, SetEnv, SetLabels
from flytebuild.spec.tree import Tree, assemble
from flytebuild.why import Change, by_layer, changes, headline
from tests.samples import AMD64, ARM64, BASE, file_entry, made_of, pip, put_on_top
from tests.spec.strategies import BY_KIND, PARTS


def tree(**files: int) -> Tree:
    """A tree of files whose content is a number."""
    return assemble(file_entry(f"{name}.py", f"{content:064x}", 1) for name, content in files.items())


def composed(spec: ImageSpec) -> Composition:
    return composition(spec, digests(spec))


def compare(before: ImageSpec, after: ImageSpec, *, are_trees_known: bool = True) -> tuple[Change, ...]:
    trees = [tree for spec in (before, after) for step in spec.steps for tree in trees_of(step.layer)]
    return changes(
        composed(before),
        composed(after),
        base=BASE.reference,
        summaries=[step.layer.summary for step in after.steps],
        origins=[step.origin for step in after.steps],
        trees={tree.digest: tree.files for tree in trees} if are_trees_known else {},
        listings=[listed_of(step.layer) for step in after.steps],
        folders=[folder_of(step.layer) for step in after.steps],
        places=after.places,
    )


def words(before: ImageSpec, after: ImageSpec, *, are_trees_known: bool = True) -> list[str]:
    return [change.words for change in compare(before, after, are_trees_known=are_trees_known)]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (["pandas==2.2.3"], ["pandas==2.3.0"], "pip: pandas 2.2.3 → 2.3.0"),
        (["Pandas==2.2.3"], ["pandas==2.2.3"], "pip: Pandas==2.2.3 → pandas==2.2.3"),
        (["pandas>=2"], ["pandas>=2.1"], "pip: pandas>=2 → pandas>=2.1"),
        (["pandas[aws]==2"], ["pandas[gcp]==2"], "pip: pandas[aws]==2 → pandas[gcp]==2"),
        (["pandas"], ["pandas", "rich"], "pip: rich is new"),
        (["pandas", "rich"], ["pandas"], "pip: rich is gone"),
        (["pandas", "rich"], ["rich", "pandas"], "pip: the same in another order"),
        (["a==1", "b==1"], ["a==2", "b==3"], "pip: a 1 → 2; b 1 → 3"),
        (["git+https://e/x@1"], ["git+https://e/x@2"], "pip: git+https://e/x@2 is new; git+https://e/x@1 is gone"),
    ],
)
def test_requirements_are_compared_by_name(before: list[str], after: list[str], said: str) -> None:
    (change,) = compare(made_of(pip(*before)), made_of(pip(*after)))
    assert (change.words, change.what) == (said, "requirements")
    assert (change.before, change.after, change.origin) == (before, after, "main.py:1")


def test_packages_of_debian() -> None:
    before, after = made_of(AptPackages(("curl", "jq=1.6"))), made_of(AptPackages(("jq=1.7", "git")))
    assert words(before, after) == ["apt: jq 1.6 → 1.7; git is new; curl is gone"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (tree(model=1), tree(model=2), "`model.py` changed"),
        (tree(model=1), tree(model=1, extra=1), "`extra.py` is new"),
        (tree(model=1, extra=1), tree(model=1), "`extra.py` is gone"),
        (tree(a=1, b=1), tree(a=2, c=1), "3 files changed: `a.py`, `b.py`, `c.py`"),
        (tree(a=1, b=1, c=1, d=1), tree(a=2, b=2, c=2, d=2), "4 files changed: `a.py`, `b.py`, `c.py` and 1 more"),
    ],
)
def test_files_are_named_where_both_trees_are_known(before: Tree, after: Tree, said: str) -> None:
    specs = [made_of(Copy(item, "/src", origin="src")) for item in (before, after)]
    assert words(*specs) == [said]
    assert words(*specs, are_trees_known=False) == ["files of `copy: src → /src` changed"]


def test_files_are_named_as_they_are_found_from_here() -> None:
    before, after, moved = (
        made_of(Copy(tree(**files), "/src", origin="common", folder="shared/common/"))
        for files in ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "c": 1})
    )
    assert words(before, after) == ["`shared/common/a.py` changed"]
    assert words(before, moved) == ["3 files changed: `shared/common/a.py`, `shared/common/b.py`, `shared/common/c.py`"]
    assert digests(after) == digests(made_of(Copy(tree(a=2, b=1), "/src")))


def test_local_packages() -> None:
    project = UvProject("dependencies_only", tree(lock=1), True, (LocalPackage("lib", tree(a=1)),))
    moved = replace(project, packages=(LocalPackage("lib", tree(a=2)), LocalPackage("more", tree(a=1))))
    found = [change.what for change in compare(made_of(project), made_of(moved))]
    assert found == ["packages", "packages"]
    assert words(made_of(project), made_of(moved), are_trees_known=False) == [
        "local package `lib` changed",
        "local package `more` is new",
    ]


def test_a_base_that_has_moved() -> None:
    moved = replace(BASE, digest="sha256:" + "9" * 64)
    assert words(made_of(), made_of(base=moved)) == [
        f"base {BASE.reference} moved sha256:111111111111… → sha256:999999999999…"
    ]


def test_what_an_image_is_put_on_is_told_where_nothing_else_differs() -> None:
    on_top, image = put_on_top(made_of(pip("rich"))), made_of(pip("rich"))
    assert words(image, on_top) == ["its base is no longer unpacked for it: uv is a layer of its own now"]
    assert words(on_top, image) == ["its base is unpacked for it now: uv is no layer of its own any more"]
    assert words(on_top, made_of(pip("rich"), Command(shell="make"))) == ["`run: make` is new"]
    before = made_of(pinned("a==1"), wheel_layers(pinned("b==1")))
    assert words(before, put_on_top(made_of(wheel_layers(pinned("a==1", "b==1"))))) == ["pip: `a` now in wheel layers"]


def test_layers_that_come_and_go() -> None:
    one, two = pip("rich"), Command(shell="make")
    assert words(made_of(one), made_of(one, two)) == ["`run: make` is new"]
    assert words(made_of(one, two), made_of(one)) == ["`command` is not in it any more"]
    assert words(made_of(two, one), made_of(two)) == ["`pip: rich` is not in it any more"]


def test_a_change_below_is_no_change_of_what_is_above() -> None:
    before, after = made_of(pip("a==1"), pip("b==1"), pip("c==1")), made_of(pip("a==2"), pip("b==1"), pip("c==1"))
    assert words(before, after) == ["pip: a 1 → 2"]


def test_variables_are_named_and_their_values_are_not() -> None:
    before = made_of(SetEnv((("TOKEN", "hunter2"), ("OLD", "1"))), pip("rich"))
    after = made_of(SetEnv((("TOKEN", "hunter3"), ("NEW", "1"))), pip("rich"))
    found = compare(before, after)
    assert "hunter" not in repr(found)
    told = "variable `NEW` is new (main.py:1); variable `OLD` is gone; variable `TOKEN` changed (main.py:1)"
    assert headline(found) == told


def test_settings_and_platforms() -> None:
    assert words(made_of(RunAs("flyte")), made_of(RunAs("root"))) == ["`user` of its config changed"]
    assert words(made_of(SetLabels((("a", "1"),))), made_of(SetLabels((("a", "2"),)))) == [
        "`labels` of its config changed"
    ]
    assert words(made_of(), made_of(platform=ARM64)) == [f"platform {AMD64} → {ARM64}"]


def test_a_requirements_file_is_called_what_it_is_called() -> None:
    before, after = (
        Requirements(tree(requirements=content, more=content), "requirements.py", origin="light.txt")
        for content in (1, 2)
    )
    assert words(made_of(before), made_of(after)) == ["2 files changed: `more.py`, `light.txt`"]


def file(content: int, *listed: str, **more: str) -> Requirements:
    """A requirements file of that content, `envs/light.txt` on the host; `more` has what files it includes list."""
    lines = [Listed(text, "requirements.txt", f"envs/light.txt:{number}") for number, text in enumerate(listed, 1)]
    lines += [Listed(text, f"{name}.py", f"envs/{name}.txt:9") for name, text in more.items()]
    found = tree(requirements=content, **{name: sum(text.encode()) % 9 for name, text in more.items()})
    return Requirements(found, "requirements.txt", origin="light.txt", listed=tuple(lines))


def told(before: Part, after: Part, **known: bool) -> list[tuple[str, str]]:
    return [(change.words, change.origin) for change in compare(made_of(before), made_of(after), **known)]


def test_packages_of_a_requirements_file_are_told_with_their_lines() -> None:
    before = file(1, "pandas==2.2.3", "numpy", "rich>=13", more="six==1.16.0")
    after = file(2, "# none", "pandas==2.3.0", "rich>=14", "attrs", more="six==1.17.0")
    after = replace(after, listed=after.listed[1:])
    for known in (True, False):
        found = told(before, after, are_trees_known=known)
        assert found[:5] == [
            ("light.txt: pandas 2.2.3 → 2.3.0", "envs/light.txt:2"),
            ("light.txt: rich>=13 → rich>=14", "envs/light.txt:3"),
            ("light.txt: attrs is new", "envs/light.txt:4"),
            ("light.txt: numpy is gone", "envs/light.txt"),
            ("more.txt: six 1.16.0 → 1.17.0", "envs/more.txt:9"),
        ]
    (first, *_) = compare(made_of(before), made_of(after))
    assert (first.what, first.before, first.after) == ("requirement", "pandas==2.2.3", "pandas==2.3.0")
    three = "light.txt: pandas 2.2.3 → 2.3.0; light.txt: rich>=13 → rich>=14; light.txt: attrs is new"
    assert by_layer(compare(made_of(before), made_of(after), are_trees_known=False)) == {
        first.layer: f"{three}; and 2 more"
    }


def test_what_is_not_known_of_a_requirements_file_is_told_of_the_file() -> None:
    """An image of an earlier version says nothing of its packages, and a comment is none."""
    before, after = file(1, "pandas==2.2.3"), file(2, "pandas==2.3.0")
    older = composed(made_of(before))
    found = changes(replace(older, listed={}), composed(made_of(after)), listings=[listed_of(after)] * 9)
    assert [change.words for change in found] == ["files of `requirements` changed"]
    assert told(file(1, "pandas"), file(2, "pandas")) == [("`requirements.py` changed", "main.py:1")]


def test_other_files_are_told_beside_the_packages() -> None:
    """Also those that list packages, none of which has changed."""
    old, new = tree(lock=1, model=1), tree(lock=2, model=2)
    same = Listed("numpy==2.4.0", "model.py", "envs/model.txt:1")
    for kind in (
        UvProject("install_project", old, True),
        PoetryProject("install_project", old, "2.2.1"),
    ):
        before = replace(kind, listed=(Listed("torch==2.8.0", "lock.py", "envs/uv.lock:7"), same))
        after = replace(kind, tree=new, listed=(Listed("torch==2.9.1", "lock.py", "envs/uv.lock:8"), same))
        assert told(before, after) == [
            ("uv.lock: torch 2.8.0 → 2.9.1", "envs/uv.lock:8"),
            ("`model.py` changed", "main.py:1"),
        ]


def test_what_files_list_is_in_no_digest() -> None:
    one, other = made_of(file(1, "pandas")), made_of(replace(file(1), listed=()))
    assert digests(one) == digests(other)
    assert one == other
    assert composed(one).layers == composed(other).layers


def test_settings_are_told_with_their_lines() -> None:
    before = made_of(SetEnv((("A", "1"), ("GONE", "1"))), RunAs("flyte"))
    after = made_of(SetEnv((("A", "1"),)), SetEnv((("A", "2"), ("NEW", "1"))), RunAs("root"), SetLabels((("a", "1"),)))
    assert [(change.words, change.origin) for change in compare(before, after)] == [
        ("variable `A` changed", "main.py:2"),
        ("variable `GONE` is gone", ""),
        ("variable `NEW` is new", "main.py:2"),
        ("`labels` of its config changed", "main.py:4"),
        ("`user` of its config changed", "main.py:3"),
    ]


def test_a_package_that_goes_with_the_first_lock() -> None:
    before = pip("pandas==2.2.3", "six", "rich>=13")
    after = replace(pinned("pandas==2.3.0"), asked=pip("pandas", "six"))
    said = "`pip: pandas, six` is locked now (pandas 2.2.3 → 2.3.0; rich>=13 is gone)"
    assert words(made_of(before), made_of(after)) == [said]
    # The base may have what is asked for and not pinned.
    assert words(made_of(pip("six")), made_of(replace(after, asked=pip("six")))) == ["`pip: six` is locked now"]
    listed = replace(after, asked=file(2, "pandas", "six"))
    assert words(made_of(file(1, "pandas==2.2.3", "six", "rich>=13")), made_of(listed)) == [
        "`requirements: light.txt` is locked now (pandas 2.2.3 → 2.3.0; rich>=13 is gone)"
    ]


def test_what_moves_with_the_first_lock_is_told_though_the_base_has_it() -> None:
    for before, after in (
        (pip("requests==2.32.3", "six"), pip("requests==2.32.4", "six")),
        (file(1, "requests==2.32.3", "six"), file(2, "requests==2.32.4", "six")),
    ):
        locked = replace(pinned("six==1.16.0"), asked=after)
        said = f"`{after.summary}` is locked now (requests 2.32.3 → 2.32.4)"
        assert words(made_of(before), made_of(locked)) == [said]
        # Between images that are there, nothing but their documents is known.
        found = changes(composed(made_of(before)), composed(made_of(locked)))
        assert [change.words for change in found] == ["`pip: six==1.16.0` is locked now (requests 2.32.3 → 2.32.4)"]
    new = replace(pinned("six==1.16.0", "tqdm==4.67.1"), asked=pip("six", "tqdm==4.67.1"))
    assert words(made_of(pip("six")), made_of(new)) == ["`pip: six, tqdm==4.67.1` is locked now (tqdm==4.67.1 is new)"]


@pytest.mark.parametrize(
    ("asked", "wanted", "said"),
    [
        (["six"], ["six", "tqdm==4.67.1"], "tqdm==4.67.1 is new"),
        (["six", "rich"], ["six"], "rich is gone"),
        (["six==1.16.0"], ["six==1.17.0"], "six 1.16.0 → 1.17.0"),
        (["six"], ["six==1.17.0"], "six 1.16.0 → 1.17.0"),
        (["six"], ["six<1.16"], "six==1.16.0 → six<1.16"),
        (["six>=1"], ["six>=1.1"], "six>=1 → six>=1.1"),
        (["six", "requests==2.32.3"], ["six", "requests==2.32.4"], "requests 2.32.3 → 2.32.4"),
    ],
)
def test_what_was_edited_is_told_before_that_it_is_not_locked(asked: list[str], wanted: list[str], said: str) -> None:
    locked = replace(pinned("six==1.16.0"), asked=pip(*asked))
    moved, unlocked = compare(made_of(locked), made_of(pip(*wanted)))
    assert headline([moved, unlocked]) == f"pip: {said} (main.py:1); not locked any more"
    assert (moved.layer, moved.what, unlocked.what) == (unlocked.layer, "requirements", "layer")
    before, after = file(1, *asked), file(2, *wanted)
    found = told(replace(locked, asked=before), after)
    line = next((f":{number}" for number, text in enumerate(wanted, 1) if text not in asked), "")
    assert found == [(f"light.txt: {said}", f"envs/light.txt{line}"), ("not locked any more", "")]


def test_what_an_image_of_an_earlier_version_was_asked_for_is_told_by_its_pins() -> None:
    older = replace(composed(made_of(pinned("six==1.16.0"))), listed={})
    for layer, said in (
        (pip("six==1.17.0", "rich"), "pip: six 1.16.0 → 1.17.0 (main.py:1); not locked any more"),
        (file(1, "six==1.17.0", "rich"), "light.txt: six 1.16.0 → 1.17.0 (envs/light.txt:1); not locked any more"),
        (pip("six", "rich"), "`pip: six, rich` is not locked any more (main.py:1)"),
    ):
        spec = made_of(layer)
        found = changes(
            older,
            composed(spec),
            summaries=[step.layer.summary for step in spec.steps],
            origins=[step.origin for step in spec.steps],
            listings=[listed_of(step.layer) for step in spec.steps],
        )
        assert headline(found) == said


def test_nothing_has_moved_that_is_not_locked_since_something_below_is_not() -> None:
    for asked in (pip("six"), file(1, "six")):
        before = replace(pinned("six==1.16.0"), asked=asked)
        assert words(made_of(before), made_of(asked)) == [f"`{asked.summary}` is not locked any more"]
    elsewhere = replace(pinned("six==1.16.0"), asked=pip("six"))
    assert words(made_of(elsewhere), made_of(file(1, "six"))) == ["`requirements: light.txt` is not locked any more"]


def test_both_parts_of_what_a_lock_has_made_two_of_are_not_locked_any_more() -> None:
    asked = pip("six==1.16.0", "rich==14.0.0")
    parts = replace(pinned("six==1.16.0"), asked=None), replace(pinned("rich==14.0.0"), asked=asked)
    spec = made_of(*parts)
    wanted = made_of(pip("six==1.17.0", "rich==14.0.0"))
    assert words(spec, wanted) == ["pip: six 1.16.0 → 1.17.0", "not locked any more"]


def test_other_wheels_are_told_in_the_lines_of_the_file_that_asks_for_them() -> None:
    before, after = (
        replace(pinned(f"numpy=={numpy}", f"six=={six}", *gone), asked=file(1, f"numpy=={numpy}", *gone))
        for numpy, six, gone in (("2.2.0", "1.16.0", ["rich==14.0.0"]), ("2.2.1", "1.17.0", []))
    )
    found = compare(made_of(before), made_of(after))
    assert [(change.words, change.origin) for change in found] == [
        ("light.txt: numpy 2.2.0 → 2.2.1", "envs/light.txt:1"),
        ("light.txt: rich 14.0.0 is gone", "envs/light.txt"),
        ("pip: six 1.16.0 → 1.17.0", "main.py:1"),
    ]
    assert [(change.what, change.before, change.after) for change in found[:2]] == [
        ("requirement", "numpy==2.2.0", "numpy==2.2.1"),
        ("requirement", "rich==14.0.0", None),
    ]
    assert [[pin["name"] for pin in pins] for pins in (found[2].before, found[2].after)] == [["six"], ["six"]]


def test_wheels_that_the_lock_alone_has_moved_are_no_edit_of_a_file() -> None:
    before, after = (replace(pinned(f"numpy=={version}"), asked=file(1, "numpy")) for version in ("2.2.0", "2.2.1"))
    assert told(before, after) == [("pip: numpy 2.2.0 → 2.2.1", "main.py:1")]


def test_a_part_that_replaces_others_is_told_in_the_lines_of_the_file() -> None:
    before, after = (
        made_of(
            replace(pinned(f"numpy=={version}"), asked=None),
            replace(pinned("six==1.16.0"), asked=file(1, f"numpy=={version}", "six")),
        )
        for version in ("2.2.0", "2.2.1")
    )
    assert [(change.words, change.origin) for change in compare(before, after)] == [
        ("light.txt: numpy 2.2.0 → 2.2.1", "envs/light.txt:1")
    ]


def test_another_translation_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = made_of(pip("rich"))
    before = composed(spec)
    older = replace(before, layers=tuple({**layer, "emitter": 0} for layer in before.layers))
    assert [change.words for change in changes(older, before)][-1] == "flytebuild makes `pip` layers in another way now"


def pinned(*versions: str, sha256: str = "a" * 64, tag: str = "py3-none-any") -> Pinned:
    """A locked `pip: pandas` layer, whose pins are written `name==version`."""
    pairs = [item.split("==") for item in versions]
    pins = (Pin(name, version, f"{name}-{version}-{tag}.whl", sha256) for name, version in pairs)
    return Pinned(tuple(pins), asked=pip("pandas"))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (pinned("pandas==2.2.3"), pinned("pandas==2.3.0"), "pip: pandas 2.2.3 → 2.3.0"),
        (pinned("pandas==1"), pinned("numpy==2", "pandas==1"), "pip: numpy 2 is new"),
        (pinned("numpy==2", "pandas==1"), pinned("pandas==1"), "pip: numpy 2 is gone"),
        (pinned("a==1"), pinned("a==1", sha256="b" * 64), "pip: a 1: the file has another content"),
        (
            pinned("a==1"),
            pinned("a==1", tag="cp311-abi3-any"),
            "pip: a 1: a-1-py3-none-any.whl → a-1-cp311-abi3-any.whl",
        ),
        (
            pinned("a==1", "b==1", "c==1", "d==1"),
            pinned("a==2", "b==2", "c==2", "d==2"),
            "pip: a 1 → 2; b 1 → 2; c 1 → 2; and 1 more",
        ),
        (pip("pandas"), pinned("pandas==2.3.0"), "`pip: pandas` is locked now"),
        (
            pip("pandas==2.2.3", "six"),
            pinned("pandas==2.3.0", "six==1.16.0"),
            "`pip: pandas` is locked now (pandas 2.2.3 → 2.3.0)",
        ),
        (pinned("pandas==2.3.0"), pip("pandas"), "`pip: pandas` is not locked any more"),
    ],
)
def test_pins_are_told_by_their_versions(before: Part, after: Part, said: str) -> None:
    assert words(made_of(before), made_of(after)) == [said]


def test_a_layer_that_a_lock_makes_two_of_is_not_new() -> None:
    before = made_of(pip("rich==13", "humanize"))
    rest = replace(wheel_layers(pinned("humanize==4")), asked=pip("rich", "humanize"))
    after = made_of(replace(pinned("rich==14"), asked=None), rest)
    origins = ("", "", "main.py:3", "main.py:3")
    told = [item.words for item in changes(composed(before), composed(after), origins=origins)]
    assert told == ["`pip: rich==14` is locked now (rich 13 → 14)", "`pip: humanize==4` is locked now"]


def wheel_layers(layer: Pinned, tool: str = "6") -> Pinned:
    """The same packages as one wheel layer."""
    made = WheelLayer(layer.pins, ResolvedImage("uv", "uv", "sha256:" + tool * 64), "3.11", AMD64, "/opt/venv")
    return replace(layer, recipe="layers", layers=(made,))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (pinned("a==1"), wheel_layers(pinned("a==1")), ["`pip: pandas` comes as wheel layers now"]),
        (wheel_layers(pinned("a==1")), pinned("a==1"), ["`pip: pandas` is installed by a step now"]),
        (wheel_layers(pinned("a==1")), wheel_layers(pinned("a==2")), ["pip: a 1 → 2"]),
        (
            pinned("a==1"),
            wheel_layers(pinned("a==2")),
            ["pip: a 1 → 2", "`pip: pandas` comes as wheel layers now"],
        ),
        (
            wheel_layers(pinned("a==1")),
            wheel_layers(pinned("a==1"), tool="7"),
            ["`pip: pandas` comes as other wheel layers"],
        ),
    ],
)
def test_wheel_layers_are_told_by_their_packages_and_not_by_their_keys(
    before: Part, after: Part, said: list[str]
) -> None:
    assert words(made_of(before), made_of(after)) == said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            [pinned("a==1", "b==1")],
            [pinned("a==1"), wheel_layers(pinned("b==1"))],
            ["pip: `b` now in wheel layers"],
        ),
        (
            [wheel_layers(pinned("a==1", "b==1"))],
            [pinned("a==1"), wheel_layers(pinned("b==1"))],
            ["pip: `a` now installed by a step"],
        ),
        (
            [pinned("a==1"), wheel_layers(pinned("b==1"))],
            [wheel_layers(pinned("a==1", "b==1"))],
            ["pip: `a` now in wheel layers"],
        ),
    ],
)
def test_wheels_that_come_in_another_way_are_named(before: list[Part], after: list[Part], said: list[str]) -> None:
    assert words(made_of(*before), made_of(*after)) == said


def test_a_headline_is_no_list() -> None:
    found = [Change(None, "base", f"reason {number}") for number in range(5)]
    assert headline(found) == "reason 0; reason 1; reason 2; and 2 more"
    assert headline([]) == ""


@settings(max_examples=200)
@given(st.lists(PARTS, max_size=3), st.lists(PARTS, max_size=3), st.booleans())
def test_images_differ_exactly_if_there_is_something_to_tell(
    one: list[Part], other: list[Part], are_trees_known: bool
) -> None:
    before, after = made_of(*one), made_of(*other)
    is_same = digests(before).image == digests(after).image
    assert (not compare(before, after, are_trees_known=are_trees_known)) == is_same


@settings(max_examples=200)
@given(st.sampled_from(sorted(BY_KIND)).flatmap(lambda kind: st.tuples(BY_KIND[kind], BY_KIND[kind])))
def test_every_field_of_a_layer_is_told(pair: tuple[LayerSpec, LayerSpec]) -> None:
    before, after = made_of(pair[0]), made_of(pair[1])
    found = compare(before, after, are_trees_known=False)
    assert (not found) == (digests(before).image == digests(after).image)
    assert all(change.words for change in found)


def test_another_tool() -> None:
    uv = ResolvedImage("uv", "mirror/uv", "sha256:" + "7" * 64)
    (change,) = compare(made_of(), made_of(uv=uv))
    assert change.words == "uv: image sha256:222222222222… → sha256:777777777777…"

"""The script that draws outlines, run as it is run in an image: what it draws, and what it leaves out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from flytebuild.inside import survey

Draw = Callable[..., dict[str, str]]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The file system of an image."""
    root = tmp_path / "image"
    for name, text in {
        "etc/passwd": "root:secret:0:0:root:/root:/bin/sh\n\n# no line\nflyte:x:1000:1001:Flyte:/home/flyte:\nbroken\n"
        "flyte:x:7:7::/:\n",
        "etc/group": "root:x:0:\nstaff:x:50:one,two\n",
        "home/flyte/.profile": "content",
        "home/flyte/work/deep/file": "content",
        "home/other/file": "content",
        "usr/lib/python/module.py": "content",
        "usr/lib/other/deep/file": "content",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def draw(image: Path, tmp_path: Path) -> Draw:
    """Draws an outline in a process of its own; gives what each path in it is."""

    def drawn(
        *places: tuple[str, Sequence[str], Sequence[str]], users: Iterable[str] = (), groups: Iterable[str] = ()
    ) -> dict[str, str]:
        target = tmp_path / "outline"
        target.mkdir()
        wanted = json.dumps({"places": places, "users": [*users], "groups": [*groups]})
        script = [sys.executable, "-I", "-S", "-c", Path(survey.__file__).read_text()]
        subprocess.run([*script, image, target, wanted], check=True)
        return {str(path.relative_to(target)): kind(path) for path in sorted(target.rglob("*"))}

    return drawn


def kind(path: Path) -> str:
    if path.is_symlink():
        return f"-> {os.readlink(path)}"
    return "folder" if path.is_dir() else f"file {path.read_text()!r}"


def test_what_is_on_the_way_and_what_is_directly_there(draw: Draw) -> None:
    assert draw(("/home/flyte", (), ())) == {
        "home": "folder",
        "home/flyte": "folder",
        "home/flyte/.profile": "file ''",
        "home/flyte/work": "folder",
    }


def test_nothing_but_what_is_there(draw: Draw) -> None:
    assert draw(("/home/none/at/all", ("a",), ("b",)), ("/usr/lib/python/module.py/x", (), ())) == {
        "home": "folder",
        "usr": "folder",
        "usr/lib": "folder",
        "usr/lib/python": "folder",
        "usr/lib/python/module.py": "file ''",
    }


def test_folders_that_are_listed_and_folders_that_are_searched(draw: Draw) -> None:
    found = draw(("/", ("usr", "usr/lib", "usr/none", "etc/passwd"), ("home", "none")))
    assert {path for path in found if path.startswith("usr")} == {"usr", "usr/lib", "usr/lib/other", "usr/lib/python"}
    assert {path for path in found if path.startswith("home")} == {
        *("home", "home/flyte", "home/flyte/.profile", "home/flyte/work", "home/flyte/work/deep"),
        *("home/flyte/work/deep/file", "home/other", "home/other/file"),
    }
    assert (found["etc"], found["etc/passwd"]) == ("folder", "file ''")
    assert "etc/group" not in found


def test_links_are_drawn_and_followed_within_the_image(image: Path, draw: Draw) -> None:
    (image / "app").symlink_to("/srv/../short")
    (image / "short").symlink_to("home/flyte/../../../../home/other")
    (image / "home/other/out").symlink_to("/nowhere")
    assert draw(("/app/new", (), ()), ("/app/out/x", (), ())) == {
        "app": "-> /srv/../short",
        "home": "folder",
        "home/flyte": "folder",
        "home/other": "folder",
        "home/other/out": "-> /nowhere",
        "short": "-> home/flyte/../../../../home/other",
    }


def test_a_link_to_itself_is_drawn(image: Path, draw: Draw) -> None:
    (image / "loop").symlink_to("/loop")
    assert draw(("/loop/x", (), ())) == {"loop": "-> /loop"}


def test_links_among_folders_are_not_followed(image: Path, draw: Draw) -> None:
    (image / "home/flyte/lib").symlink_to("/usr/lib")
    found = draw(("/home/flyte", ("lib",), ("lib", "lib/python")))
    assert found["home/flyte/lib"] == "-> /usr/lib"
    assert "usr" not in found


def test_folders_keep_their_modes_and_times(image: Path, draw: Draw, tmp_path: Path) -> None:
    for name, mode in {"home": 0o1777, "home/flyte": 0o2750, "home/flyte/work": 0o700}.items():
        (image / name).chmod(mode)
        os.utime(image / name, ns=(0, 1_000_000_000_123_456_789))
    draw(("/home/flyte", (), ()))
    for name in ("home", "home/flyte", "home/flyte/work"):
        before, after = (image / name).stat(), (tmp_path / "outline" / name).stat()
        assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
        assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_only_names_that_are_asked_for_and_no_passwords(draw: Draw) -> None:
    assert draw(users=("root", "flyte", "nobody"), groups=("staff", "flyte")) == {
        "etc": "folder",
        "etc/group": "file 'staff:x:50:one,two\\n'",
        "etc/passwd": "file 'flyte:x:1000:1001\\nroot:x:0:0\\n'",
    }


def test_names_in_a_file_that_is_linked_or_no_file(image: Path, draw: Draw) -> None:
    (image / "etc/passwd").rename(image / "usr/passwd")
    (image / "etc/passwd").symlink_to("../usr/passwd")
    (image / "etc/group").unlink()
    os.mkfifo(image / "etc/group")
    assert draw(users=("flyte",), groups=("flyte",)) == {
        "etc": "folder",
        "etc/group": "file ''",
        "etc/passwd": "-> ../usr/passwd",
        "usr": "folder",
        "usr/passwd": "file 'flyte:x:1000:1001\\n'",
    }


def test_names_need_not_be_text(image: Path, draw: Draw) -> None:
    raw = os.path.join(os.fsencode(image), b"home/flyte/\xff\xfe")
    os.mkdir(raw)
    os.mkdir(os.path.join(raw, b"inside"))
    found = draw(("/home/flyte", (), (os.fsdecode(b"\xff\xfe"),)))
    assert found[os.fsdecode(b"home/flyte/\xff\xfe/inside")] == "folder"

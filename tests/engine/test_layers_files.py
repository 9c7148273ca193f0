"""Files of the host in images: where they land, whose they are, and what is left out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from flyte._image import resolve_code_bundle_layer

from flytebuild.llb.file import FIXED_TIME
from tests.engine.building import Builds, Built

pytestmark = pytest.mark.engine

LOOK = "stat -c '%A %U:%G %Y %s'"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of everything."""
    top = tmp_path_factory.mktemp("files") / "source"
    for name, text in {
        "notes.txt": "notes\n",
        "sub/deep/module.py": "x = 1\n",
        "sub/data.bin": "binary",
        "with blank [1]*?.txt": "odd\n",
        "ünï/ж.txt": "wide\n",
        "__pycache__/module.cpython-311.pyc": "bytecode",
        "skipped/file": "ignored",
        "skipped/kept": "brought back",
    }.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (top / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (top / "run.sh").chmod(0o700)
    (top / "notes.txt").chmod(0o600)
    (top / "empty").mkdir()
    (top / "link").symlink_to("sub/data.bin")
    (top / "folder link").symlink_to("sub")
    (top / "dangling").symlink_to("/nowhere/at/all")
    os.utime(top / "notes.txt", (1, 1))
    return top


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose modules this process has loaded in part."""
    top = tmp_path_factory.mktemp("bundle")
    for name in ("bundled_top.py", "bundled_package/__init__.py", "bundled_package/used.py", "bundled_package/not.py"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name = {name!r}\n")
    (top / "readme.md").write_text("read me\n")
    return top


@pytest.fixture(scope="module")
def images(builds: Builds, source: Path, project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    ignore = tmp_path_factory.mktemp("ignore") / "my.dockerignore"
    ignore.write_text("# patterns are relative to each folder that is copied\nskipped/*\n!skipped/kept\n**/*.bin\n")
    base = builds.base
    no_user = base.with_commands(["sed -i /^flyte:/d /etc/passwd /etc/group"])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(project))
        __import__("bundled_top")
        __import__("bundled_package.used")
        bundles = {
            name: resolve_code_bundle_layer(image, "none", project)
            for name, image in {
                "loaded modules": base.with_code_bundle(copy_style="loaded_modules"),
                "whole project": base.with_code_bundle(copy_style="all", dst="/code"),
            }.items()
        }
        try:
            return builds.build(
                {
                    **bundles,
                    "file into folder": base.with_source_file(source / "run.sh", "/data/bin/"),
                    "file by name": base.with_source_file(source / "run.sh", "/data/bin/start"),
                    "file here": base.with_source_file(source / "notes.txt"),
                    "files": base.with_source_file([source / "notes.txt", source / "run.sh"], "two/"),
                    "file in its folder": base.with_workdir("/srv").with_source_file(source / "notes.txt", "to/it"),
                    "folder": base.with_source_folder(source, "/data"),
                    "folder here": base.with_source_folder(source / "sub"),
                    "contents": base.with_source_folder(source / "sub", "there", copy_contents_only=True),
                    "over": base.with_source_folder(source / "sub", "/data").with_source_folder(
                        source / "ünï", "/data"
                    ),
                    "ignored": base.with_source_folder(source, "/data").with_dockerignore(ignore),
                    "nobody": no_user.with_source_file(source / "notes.txt", "/data/"),
                    "link in the way": base.with_commands(["mkdir /real; ln -s /real /short"]).with_source_file(
                        source / "notes.txt", "/short/"
                    ),
                }
            )
        finally:
            for name in [name for name in sys.modules if name.startswith("bundled_")]:
                del sys.modules[name]


def added(image: Built, below: str) -> list[str]:
    """What the image's layers hold below a folder."""
    return sorted(path.removeprefix(below) for path in image.added if path.startswith(below + "/"))


def test_a_file_goes_into_a_folder_under_its_own_name(images: dict[str, Built]) -> None:
    image = images["file into folder"]
    assert image.sh(f"{LOOK} /data/bin/run.sh; /data/bin/run.sh") == [f"-rwxr-xr-x flyte:flyte {FIXED_TIME} 19", "ran"]
    assert image.sh("stat -c '%A %U' /data /data/bin") == ["drwxr-xr-x flyte"] * 2


def test_a_file_goes_to_a_place_under_another_name(images: dict[str, Built]) -> None:
    assert images["file by name"].sh("ls /data/bin; /data/bin/start") == ["start", "ran"]


def test_a_file_without_a_destination_goes_into_the_working_folder(images: dict[str, Built]) -> None:
    assert images["file here"].sh(f"pwd; {LOOK} notes.txt; cat notes.txt") == [
        "/home/flyte",
        f"-rw-r--r-- flyte:flyte {FIXED_TIME} 6",
        "notes",
    ]
    assert images["file in its folder"].sh("pwd; cat /srv/to/it") == ["/srv", "notes"]


def test_several_files_at_once(images: dict[str, Built]) -> None:
    assert images["files"].sh("ls /home/flyte/two") == ["notes.txt", "run.sh"]


def test_a_folder_arrives_with_all_that_is_in_it(images: dict[str, Built], source: Path) -> None:
    image = images["folder"]
    expected = {str(path.relative_to(source)) for path in source.rglob("*") if "__pycache__" not in path.parts}
    found = {path.removeprefix("/data/"): member for path, member in image.added.items() if path.startswith("/data/")}
    assert set(found) == expected
    assert {(member.uid, member.gid) for member in found.values()} == {(1000, 1000)}
    assert {member.time for member in found.values()} == {FIXED_TIME}
    assert {member.mode for member in found.values() if member.kind == "dir"} == {0o755}
    assert {name for name, member in found.items() if member.kind == "file" and member.mode == 0o755} == {"run.sh"}
    assert (found["link"].target, found["folder link"].target) == ("sub/data.bin", "sub")
    assert found["dangling"].target == "/nowhere/at/all"
    assert found["empty"].kind == "dir"
    assert image.sh("cat /data/link /data/'with blank [1]*?.txt' /data/ünï/ж.txt; touch /data/empty/mine") == [
        "binaryodd",
        "wide",
    ]


def test_a_folder_without_a_destination_goes_below_the_working_folder(images: dict[str, Built]) -> None:
    assert images["folder here"].sh("find sub | sort") == ["sub", "sub/data.bin", "sub/deep", "sub/deep/module.py"]


def test_the_contents_of_a_folder(images: dict[str, Built]) -> None:
    assert images["contents"].sh("ls there") == ["data.bin", "deep"]


def test_a_second_folder_is_laid_over_the_first(images: dict[str, Built]) -> None:
    assert images["over"].sh("ls /data") == ["data.bin", "deep", "ж.txt"]


def test_what_an_ignore_file_names_is_left_out(images: dict[str, Built]) -> None:
    found = added(images["ignored"], "/data")
    assert "/skipped/kept" in found
    assert not {"/skipped/file", "/sub/data.bin"} & set(found)
    assert "/run.sh" in found


def test_files_are_root_s_where_no_user_is_called_flyte(images: dict[str, Built]) -> None:
    member = images["nobody"].added["/data/notes.txt"]
    assert (member.uid, member.gid) == (0, 0)


def test_links_of_the_image_are_followed(images: dict[str, Built]) -> None:
    assert images["link in the way"].sh("readlink /short; cat /real/notes.txt") == ["/real", "notes"]


def test_a_bundle_of_the_modules_that_are_loaded(images: dict[str, Built]) -> None:
    image = images["loaded modules"]
    assert image.added_outside("/opt/venv") == {
        f"/home/flyte/{name}" for name in ("bundled_top.py", "bundled_package/__init__.py", "bundled_package/used.py")
    }
    assert image.sh("python -c 'import bundled_package.used as m; print(m.name)'") == ["bundled_package/used.py"]


def test_a_bundle_of_the_whole_project(images: dict[str, Built]) -> None:
    assert images["whole project"].sh("cd /code; find . -type f | sort") == [
        *("./bundled_package/__init__.py", "./bundled_package/not.py", "./bundled_package/used.py"),
        *("./bundled_top.py", "./readme.md"),
    ]


def test_copies_add_their_files_and_nothing_else(images: dict[str, Built]) -> None:
    assert images["file into folder"].added_outside() == {"/data/bin/run.sh"}


def test_an_unresolved_bundle_adds_nothing(builds: Builds) -> None:
    plain = builds.base.with_env_vars({"A": "1"})
    one, other = (builds.plan({"x": image}).images[0] for image in (plain, plain.with_code_bundle()))
    assert one.digest == other.digest


def test_equal_folders_are_one_layer_wherever_they_lie(builds: Builds, source: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("notes\n")
    images = [builds.base.with_source_file(path / "notes.txt", "/data/") for path in (source, tmp_path / "a")]
    one, other = (builds.plan({"x": image}).images[0] for image in images)
    assert one.reference == other.reference


def test_a_file_that_changed_since_the_plan_is_not_published(builds: Builds, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    image = builds.base.with_source_folder(tmp_path, "/data")
    planned = builds.plan({"changed": image})
    (tmp_path / "file").write_text("after!")
    failure = builds.failure(planned)
    assert failure.step == f"copy: {tmp_path.name} → /data"
    assert failure.message == "`file` changed while the image was built"
    assert failure.hint == "run the same command again once the file is as it should be"
    assert failure.origin.startswith(f"{Path(__file__).relative_to(Path.cwd())}:")
    (image_plan,) = builds.plan({"changed": image}).images
    assert image_plan.status == "missing"

"""Files that are merged with an image: the same as if they were copied onto it, and independent of it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import flyte
import pytest

from flytebuild.build.files import served
from flytebuild.buildkit.solve import SolveError
from flytebuild.events import StepFinished
from flytebuild.llb.lower import lower, origins
from flytebuild.llb.marshal import in_order
from flytebuild.llb.run import BindMount, fill
from flytebuild.spec.model import ImageSpec
from tests.engine.building import Builds
from tests.engine.solving import CONTEXT, Solved, Solver

pytestmark = pytest.mark.engine

COMPARE = """
import json, os, stat, sys

def walk(top, inside="", found=None):
    found = {} if found is None else found
    for entry in os.scandir(os.path.join(top, inside)):
        path = os.path.join(inside, entry.name)
        status = entry.stat(follow_symlinks=False)
        is_file, is_folder = stat.S_ISREG(status.st_mode), entry.is_dir(follow_symlinks=False)
        target = os.readlink(entry.path) if entry.is_symlink() else ""
        found[path] = [status.st_mode, status.st_uid, status.st_gid, target, is_file and open(entry.path, "rb").read()]
        if is_folder and path not in sys.argv[2:]:
            walk(top, path, found)
    return found

for pair in sorted(os.listdir(sys.argv[1])):
    copied, merged = (walk(os.path.join(sys.argv[1], pair, kind)) for kind in ("copied", "merged"))
    differ = [path for path in copied.keys() | merged.keys() if copied.get(path) != merged.get(path)]
    print(json.dumps([pair, len(copied), sorted(differ)]))
"""
NOT_COMPARED = ("usr/share", "usr/lib/python3", "usr/lib/python3.11", "usr/lib/x86_64-linux-gnu", "opt/venv/lib")
"""Where much is and nothing is copied to."""

SETUP = """
mkdir -p /data/real /full/package/deep /full/kept /a/b/c /up
chown 1000:5 /data/real /up; chmod 2775 /data/real; chmod 711 /up; mkdir -m 1777 /work
ln -s /data/real /link; ln -s link /linked; ln -s real /data/folder; ln -s /not/there /dangling
ln -s ../../../../up /a/b/c/d; ln -s text /data/textlink
echo old | tee /full/main.py /full/package/deep/old /full/kept/old /data/text >/dev/null
chmod 700 /full/package /full/package/deep; chown 7:8 /full /full/package; ln -s /etc/hostname /full/run.sh
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders to copy, of which no other run has the content."""
    top = tmp_path_factory.mktemp("merged")
    token = secrets.token_hex(8)
    for name, text in {
        "source/main.py": token,
        "source/package/__init__.py": "",
        "source/package/deep/module.py": "x = 1\n",
        "source/run.sh": "#!/bin/sh\n",
        "more/main.py": "another\n",
        "more/package/other.py": token,
        "system/lib/file": token,
        "shared/share/own/file": token,
        "linked/file": token,
        "linked/folder/file": token,
        "outward/file": token,
        "users/passwd": "flyte:x:55:66::/:/bin/sh\n",
        "users/group": "flyte:x:77:\n",
        "one.txt": token,
        "edited/main.py": f"edited {token}",
        "edited/package/new/module.py": "",
    }.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    (top / "source/run.sh").chmod(0o755)
    for name in ("source", "edited"):
        (top / name / "empty").mkdir()
    (top / "linked/link").symlink_to("folder")
    (top / "outward/link").symlink_to("/data")
    return top


def images(base: flyte.Image, folder: Path) -> dict[str, flyte.Image]:
    """Images with files in all places that are not just new folders."""
    one = folder / "one.txt"
    many = base.with_commands([SETUP])
    for name, destination in (
        *(("source", "/home/flyte"), ("source", "/home/flyte/app"), ("source", "/root/app"), ("source", "/tmp")),
        *(("source", "/new/deep"), ("source", "/linked/sub"), ("more", "/link"), ("source", "/dangling/sub")),
        *(("source", "/a/b/c/d/sub"), ("source", "/var/run/own"), ("source", "/full"), ("more", "/full")),
        *(("more", "/"), ("shared", "/usr"), ("linked", "/full/package")),
    ):
        many = many.with_source_folder(folder / name, destination, copy_contents_only=True)
    for destination in (
        *("/tmp/a/b/", "/lib/own/", "/bin/own", "/full/main.py", "/full/package", "/full/package/link/"),
        *("/data/folder", "/data/textlink", "/data/new/name", "/work/"),
    ):
        many = many.with_source_file(one, destination)
    for destination in ("/work", "/work/in", "/other/deep", "/link/new"):
        many = many.with_workdir(destination)
    many = many.with_source_folder(folder / "users", "/etc", copy_contents_only=True).with_source_file(one, "/srv/")
    nobody = base.with_commands(["rm /etc/passwd /etc/group"]).with_source_folder(folder / "source", "/srv/own")
    led = base.with_commands(["chmod 700 /srv; mkdir -m 750 -p /data/in"])
    led = led.with_source_folder(folder / "outward", "/srv", copy_contents_only=True).with_source_file(
        one, "/srv/link/in/"
    )
    return {"many": many, "nobody": nobody, "led elsewhere": led, "at once": base.with_source_folder(folder / "source")}


def specs(builds: Builds, wanted: Mapping[str, flyte.Image]) -> dict[str, ImageSpec]:
    planned = builds.plan(wanted)
    of = {image.reference: image.spec for image in planned.images}
    return {item.name: spec for item in planned.environments if (spec := of[item.image])}


def solved(solver: Solver, spec: ImageSpec, *, can_merge: bool = True) -> Solved:
    return solver.solve(lower(spec, can_merge=can_merge), named=served([spec]).trees)


def test_merged_files_are_as_if_they_were_copied(solver: Solver, builds: Builds, folder: Path) -> None:
    found = specs(builds, images(builds.base, folder))
    binds, expected = [], {}
    for name, spec in found.items():
        for kind in ("copied", "merged"):
            state = lower(spec, can_merge=kind == "merged")
            assert (state.vertex.operation.WhichOneof("op") == "merge") is (kind == "merged")
            binds.append(BindMount(f"/pairs/{name}/{kind}", state))
        expected[name] = []
    args = ["python", "-c", COMPARE, "/pairs", *NOT_COMPARED, "#", secrets.token_hex(8)]
    compared = fill(solver.base, args, CONTEXT, solver.platform, name="compare", target="/out", binds=binds)
    log = solver.solve(compared, named=served(found.values()).trees).log
    lines = [json.loads(line) for line in log.splitlines()]
    assert {name: differ for name, _, differ in lines} == expected
    assert all(entries > 1000 for _, entries, _ in lines)


@pytest.mark.parametrize(
    ("setup", "name", "destination"),
    [
        ("true", "system", "/"),
        ("mkdir /app; ln -s /srv /app/package", "source", "/app"),
        ("mkdir -p /app/package; touch /app/package/deep", "source", "/app"),
        ("mkdir -p /app/package/deep/module.py", "source", "/app"),
        ("touch /app", "source", "/app"),
        ("ln -s /app /app", "source", "/app"),
    ],
    ids=["the system's links", "link", "file", "folder", "destination", "loop"],
)
def test_what_cannot_be_copied_cannot_be_merged(
    solver: Solver, builds: Builds, folder: Path, setup: str, name: str, destination: str
) -> None:
    image = builds.base.with_commands([setup])
    image = image.with_source_folder(folder / name, destination, copy_contents_only=True)
    (spec,) = specs(builds, {"x": image}).values()
    told = []
    for can_merge in (False, True):
        with pytest.raises(SolveError) as caught:
            solved(solver, spec, can_merge=can_merge)
        reason = caught.value.reason
        told.append(re.sub(r"buildkit\d+", "", reason.message))
        assert origins(spec, can_merge=can_merge)[reason.vertex or ""] == spec.steps[-1].origin
    assert told[0] == told[1]


def test_only_files_are_copied_again_when_they_change(solver: Solver, builds: Builds, folder: Path) -> None:
    below = builds.base.with_commands(["true"])
    one, other = specs(
        builds,
        {
            name: below.with_source_folder(folder / name, "/app", copy_contents_only=True)
            for name in ("source", "edited")
        },
    ).values()
    solved(solver, one)
    # Sources are looked at every time, which is not to execute anything.
    sources = {vertex.name for vertex in in_order(lower(other)) if not vertex.inputs}
    assert solved(solver, other).executed - sources == {"copied files", "copied files on top of the image"}


def test_equal_files_in_equal_places_are_copied_once_whatever_is_below_them(
    solver: Solver, builds: Builds, folder: Path
) -> None:
    token = secrets.token_hex(8)
    one, other = specs(
        builds,
        {
            name: builds.base.with_commands([f"echo {token} >/srv/{name}"]).with_source_folder(
                folder / "source", f"/srv/{token}", copy_contents_only=True
            )
            for name in ("one", "other")
        },
    ).values()
    first, second = solved(solver, one), solved(solver, other)
    assert {f"look at /srv/{token}", "copied files"} <= first.executed
    assert f"look at /srv/{token}" in second.executed
    assert not {f"outline of /srv/{token}", "copied files"} & second.executed


def test_what_images_have_in_common_is_copied_once(solver: Solver, builds: Builds, folder: Path) -> None:
    less = builds.base.with_commands(["true"]).with_source_folder(folder / "source", f"/{secrets.token_hex(8)}")
    more = less.with_source_file(folder / "one.txt", "/etc/own/").with_workdir("/home/flyte/own/deep")
    one, other = specs(builds, {"less": less, "more": more}).values()
    solved(solver, one)
    (copied,) = [
        item for item in in_order(lower(other)) if item.name == other.steps[-3].layer.summary and item.platform
    ]
    assert copied.inputs
    ended = {event.step: event.cached for event in solved(solver, other).events if isinstance(event, StepFinished)}
    assert ended[copied.digest]


def test_operations_are_told_by_the_digests_that_they_were_sent_with(
    solver: Solver, builds: Builds, folder: Path
) -> None:
    image = builds.base.with_source_folder(folder / "source", "/app").with_workdir("/app/in")
    (spec,) = specs(builds, {"x": image}).values()
    assert solved(solver, spec).vertices == {vertex.digest for vertex in in_order(lower(spec))}

"""The bytes of every operation, pinned: a change of them makes users build all their images anew.

A digest that changes on purpose needs a higher number in `flytebuild.spec.layers.EMITTERS` for every kind of layer
that uses the operation. Sources of files are the exception: the keys of what is made of them have what they hold, not
their bytes.
"""

import pytest

from flytebuild.llb.file import (
    FIXED_TIME,
    Copy,
    MakeFile,
    MakeFolder,
    Owner,
    change,
    copy,
    make_file,
    make_files,
    make_folder,
)
from flytebuild.llb.lower import lower
from flytebuild.llb.merge import diff, merge
from flytebuild.llb.run import BindMount, CacheMount, SecretFile, SecretVariable, TmpfsMount, fill, run
from flytebuild.llb.source import download, image, local
from flytebuild.llb.state import State
from flytebuild.llb.wheels import wheel_layer
from flytebuild.spec.images import Platform, ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import Pin, WheelLayer
from tests.samples import AMD64, file_tree, spec

BASE = image("r.example/base@sha256:" + "1" * 64, AMD64, name="base")
TREE = local(file_tree("a", "ab" * 32, 1), name="src/")
CONTEXT = RuntimeConfig(env=(("PATH", "/bin"), ("A", "b c")), user="root", workdir="/work")
FILES = {"/etc/a/one": b"1", "/two": b"\0\xff"}
FLYTE = Owner("flyte", of=BASE)
PIN = Pin("a", "1", "a-1.whl", "6" * 64, "https://i.example/a-1.whl")
TOOL = ResolvedImage("r.example/uv:1", "r.example/uv:1", "sha256:" + "2" * 64)


def step(**mounts: object) -> State:
    return run(BASE, ["sh", "-c", "true"], CONTEXT, AMD64, name="step", **mounts)  # type: ignore[arg-type]


GOLDEN = {
    "image": (BASE, "e792932f12683e329c57511673124eb2f0f5c9eb93aad407480db75d8bb00ff2"),
    "image for another platform": (
        image("r.example/x:1", Platform("linux", "arm64", "v8"), name="x"),
        "066cef1e5503f3e03b06120805b4e3ca3e67879cfdb3d26c035d4a8491c66d12",
    ),
    "download": (
        download("https://i.example/a.whl", "6" * 64, "a.whl", name="x"),
        "91da6c27080e3a406a51c743a49a5e8d37aa26222d98acb3c8dcc370a2835e38",
    ),
    "wheel layer": (
        wheel_layer(WheelLayer((PIN,), TOOL, "3.11", AMD64, "/opt/venv")),
        "06b0d1f82df93917ef97f69ec8e703cedfc06a993f2ac9623e0dcf96a7e58777",
    ),
    "local": (TREE, "790efda5e54a499fcf39032999dd956ce396291842ea7c2cbd4ba09d3ebf066a"),
    "copy": (
        copy(BASE, TREE, "/a", "/b", AMD64, name="x"),
        "94a074d85358ad1dfb46efe88b22637e171eec279fac0a0dd9affb52d2c3a3a2",
    ),
    "copy with everything": (
        copy(
            BASE,
            TREE,
            "/",
            "/b",
            AMD64,
            name="x",
            contents_only=True,
            owner=Owner("flyte", "staff"),
            mode=0o640,
            time=FIXED_TIME,
        ),
        "841280c105f71f43811921fb2b4e862f61287f9712e577b1a604007557dbe799",
    ),
    "copy onto nothing": (
        copy(None, TREE, "/", "/b", AMD64, name="x", owner=FLYTE),
        "66d09f73d4e49d569f3df59c4e0afef1476cf753c72e1dc9748e18e3b8adf792",
    ),
    "file": (
        make_file(BASE, "/etc/a", b"content", AMD64, name="x"),
        "0b85583eb644064a54069f0c21b3e95826ed19dbc3e3c216f9e3ad4841de288a",
    ),
    "files": (
        make_files(None, FILES, AMD64, name="x", mode=0o600, owner=Owner(1000)),
        "3edebd4e5074d0b87b375c41ae7ac001d3bffccc27d01bcc977a3f7575dcb3d8",
    ),
    "folder": (
        make_folder(BASE, "/a/b", AMD64, name="x", parents=False, mode=0o700, owner=Owner(5, 6)),
        "900764003fcc5854e02a85ac0e95fe69ca650c7e6f4a9b60d5e9e3d9832576e4",
    ),
    "several actions": (
        change(None, (MakeFolder("/a"), Copy(TREE, "/x", "/a/"), MakeFile("/a/y", b"y")), AMD64, name="x"),
        "ce0eace9261887fb1e026deee682723da9798ae405ac719b51933cddb3b2d984",
    ),
    "run": (step(), "1a5340ae0ee902880758ab5785c0fb73df994cc4a571a778dce4668f8b10bdc6"),
    "run with cache": (
        step(caches=(CacheMount("/cache", "id", "locked"),)),
        "d9af924670b0826d8ae40ef3408b2966037e260dcc7766998da0429ac61d7a71",
    ),
    "run with binds": (
        step(binds=(BindMount("/a", TREE, "/sub"), BindMount("/b", TREE, writable=True))),
        "22005ea74ebe4a250ee59cdf45eef7ed481465748143711767e7185544f71e34",
    ),
    "run with tmpfs": (
        step(tmpfs=(TmpfsMount("/tmp", 1 << 20),)),
        "473fae9ba46b26dd9d7f1028ce6df8dcbeb070d4f1ca5a12bb82c251131a0ed4",
    ),
    "run with secrets": (
        step(
            files=(SecretFile("/s", "id"), SecretFile("/t", "id", required=True, uid=1, gid=2, mode=0o400)),
            variables=(SecretVariable("S", "id"), SecretVariable("T", "id", required=True)),
        ),
        "03992d2694acbb4151f52a762660a2d3d9134a56f0fa230ff6d1884e88b3271c",
    ),
    "run for a folder": (
        fill(BASE, ["true"], CONTEXT, AMD64, name="x", target="/out", binds=(BindMount("/in", TREE),)),
        "7a830dce61d6ce1660bb65bf37690e555bec7df4b024162fb9264a3e59d92264",
    ),
    "merge": (merge((BASE, TREE), name="x"), "b687c331f996134d3664710aea873d1246cc3da238cc753cbeb61a45c584c723"),
    "diff": (diff(BASE, TREE, name="x"), "1e1591c6b26fae7149b312971666ad9af943dc1472ffb296d8225c9d5559fc1c"),
    "an image with two pip layers": (
        lower(spec("ruff", "pytest")),
        "93d9a1328533d3ecaf726e959274bbb56a71987306b84e8436155bd87b38c1e9",
    ),
}


@pytest.mark.parametrize(("state", "digest"), GOLDEN.values(), ids=GOLDEN.keys())
def test_bytes_are_what_they_were(state: State, digest: str) -> None:
    assert state.vertex.digest == f"sha256:{digest}"

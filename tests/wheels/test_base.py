"""What a base has installed, read from its layers."""

import gzip
import io
import tarfile
from collections.abc import Callable

import pytest
import zstandard

from flytebuild.wheels.base import Base, Files, decode, encode
from flytebuild.wheels.environment import Installed

SITE = "opt/venv/lib/python3.11/site-packages"
STATUS = (
    "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u10\nDescription: C\n more: text\n\n"
    "Package: python3.11-minimal\nVersion: 1:3.11.2-6\n"
)
CONFIG = "home = /usr/bin\nversion_info = 3.11.2\n"


def distribution(name: str, version: str, tag: str = "py3-none-any") -> dict[str, str]:
    folder = f"{SITE}/{name}-{version}.dist-info"
    return {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\n",
        f"{folder}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n",
        f"{folder}/RECORD": "",
    }


def layer(
    files: dict[str, str], pack: Callable[[bytes], bytes] = bytes, *, prefix: str = "", uid: int = 0, mode: int = 0o755
) -> io.BytesIO:
    """A layer of these files; what ends in a slash is a folder."""
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(prefix + path)
            member.size, member.uid, member.mode = len(text.encode()), uid, mode
            if path.endswith("/"):
                member.type = tarfile.DIRTYPE
            archive.addfile(member, io.BytesIO(text.encode()))
    return io.BytesIO(pack(found.getvalue()))


def base(*layers: io.BytesIO) -> Base:
    files = Files()
    for item in layers:
        files.add(item)
    return files.base()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress], ids=["tar", "gz", "zstd"])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_packages_python_and_c_library(pack: Callable[[bytes], bytes], prefix: str) -> None:
    files = {"var/lib/dpkg/status": STATUS, "opt/venv/pyvenv.cfg": CONFIG, **distribution("My.Package", "1.0", "a-b-c")}
    found = base(layer(files, pack, prefix=prefix))
    assert (found.python, found.pythons, found.glibc, found.is_musl) == ("3.11.2", ("3.11.2",), (2, 36), False)
    (installed,) = found.installed
    assert (installed.name, installed.version, installed.tags) == ("my-package", "1.0", ("a-b-c",))
    assert "Name: My.Package" in installed.metadata
    assert decode(encode(found)) == found


def test_what_comes_from_elsewhere_than_an_index() -> None:
    one, two = distribution("one", "1"), distribution("two", "1")
    found = base(layer({**one, **two, f"{SITE}/two-1.dist-info/direct_url.json": "{}"}))
    assert {item.name: item.is_direct for item in found.installed} == {"one": False, "two": True}
    assert decode(encode(found)) == found


def test_what_a_later_layer_removes_is_gone() -> None:
    below = layer({**distribution("one", "1"), **distribution("two", "1")})
    upgraded = layer({f"{SITE}/.wh.one-1.dist-info": "", **distribution("one", "2")})
    assert [(item.name, item.version) for item in base(below, upgraded).installed] == [("one", "2"), ("two", "1")]
    below.seek(0)
    emptied = layer({f"{SITE}/.wh..wh..opq": "", **distribution("three", "1")})
    assert [item.name for item in base(below, emptied).installed] == ["three"]
    below.seek(0)
    assert base(below, layer({"opt/.wh.venv": ""})).installed == ()


def test_folders_that_a_merge_would_make_others() -> None:
    plain = {"opt/": "", f"{SITE}/": ""}
    assert base(layer(plain)).odd == ()
    assert base(layer(plain, uid=1000)).odd == ("/opt", f"/{SITE}")
    assert base(layer(plain, mode=0o775)).odd == ("/opt", f"/{SITE}")
    # A later layer may have put that right.
    assert base(layer(plain, uid=1000), layer({"opt/": ""})).odd == (f"/{SITE}",)
    assert base(layer({"opt/venv": ""})).odd == ("/opt/venv",)
    assert decode(encode(base(layer(plain, uid=1000)))).odd == ("/opt", f"/{SITE}")


def test_a_base_without_a_virtual_environment() -> None:
    header = '#define PY_VERSION             "3.12.7"\n'
    found = base(layer({"usr/local/include/python3.12/patchlevel.h": header, "var/lib/dpkg/status": STATUS}))
    assert (found.python, found.pythons, found.installed) == ("", ("3.11.2", "3.12.7"), ())
    assert base(layer({"lib/ld-musl-x86_64.so.1": ""})) == Base(is_musl=True)
    assert base(layer({})) == Base()


def test_a_virtual_environment_that_does_not_say_its_python() -> None:
    found = base(layer({"var/lib/dpkg/status": STATUS, **distribution("one", "1")}))
    assert found.python == "3.11.2"
    assert base(layer(distribution("one", "1"))).python == "3.11"


def linked(links: dict[str, str], files: dict[str, str], kind: bytes = tarfile.LNKTYPE) -> io.BytesIO:
    """A layer with files, and links to others after them."""
    found = layer(files)
    found.seek(0)
    with tarfile.open(fileobj=found, mode="a") as archive:
        for path, target in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    found.seek(0)
    return found


def test_metadata_that_is_a_hard_link_to_a_file_of_a_cache() -> None:
    one = distribution("one", "1")
    kept = {f"root/.cache/uv/{path.rpartition('/')[2]}": text for path, text in one.items()}
    links = {path: f"root/.cache/uv/{path.rpartition('/')[2]}" for path in one}
    assert base(linked(links, kept)) == base(layer(one))
    # From the cache to the package it is the package's file anyway.
    assert base(linked({target: path for path, target in links.items()}, one)) == base(layer(one))


@pytest.mark.parametrize("trace", ["old-1.egg-info", "old-1.egg-info/PKG-INFO", "mine.egg-link", "bare-1.dist-info/"])
def test_packages_that_do_not_say_what_they_are(trace: str) -> None:
    below = layer({f"{SITE}/{trace}": "", **distribution("one", "1")})
    found = base(below)
    assert found.unseen == (f"/{SITE}/{trace.partition('/')[0]}",)
    assert [item.name for item in found.installed] == ["one"]
    assert decode(encode(found)) == found
    below.seek(0)
    assert base(below, layer({f"{SITE}/.wh.{trace.partition('/')[0]}": ""})).unseen == ()


def test_links_in_the_place_of_folders() -> None:
    assert base(linked({"opt/venv": "/usr/local"}, {}, tarfile.SYMTYPE)).unseen == ("/opt/venv",)
    info = f"{SITE}/one-1.dist-info"
    assert base(linked({info: "/srv/one"}, {}, tarfile.SYMTYPE)).unseen == (f"/{info}",)
    assert base(linked({"opt/venv/lib64": "lib"}, distribution("one", "1"), tarfile.SYMTYPE)).unseen == ()


def test_what_an_opaque_folder_is_stays() -> None:
    assert base(layer({"opt/": "", "opt/.wh..wh..opq": ""}, uid=1000)).odd == ("/opt",)
    assert base(layer({f"{SITE}/": ""}, uid=1000), layer({"opt/.wh.venv": ""})).odd == ()


PLAIN = {"usr/": "", "usr/bin/": "", "usr/bin/python3.11": "", "opt/": "", "opt/venv/": "", "opt/venv/bin/": ""}
PYTHON = "opt/venv/bin/python"


@pytest.mark.parametrize(
    ("links", "is_ready"),
    [
        ({PYTHON: "/usr/bin/python3.11"}, True),
        ({PYTHON: "python3", "opt/venv/bin/python3": "../../../usr/bin/python3.11"}, True),
        ({PYTHON: "/usr/bin/python3.12"}, False),
        ({PYTHON: "/bin/python3.11", "bin": "usr/bin"}, False),
        ({PYTHON: "python"}, False),
        ({}, False),
    ],
)
def test_an_environment_that_is_there(links: dict[str, str], is_ready: bool) -> None:
    """What takes more to follow than a few links is left to the image's own steps."""
    found = base(linked(links, PLAIN, tarfile.SYMTYPE))
    assert found.is_ready == is_ready
    assert decode(encode(found)) == found


def test_an_environment_is_as_the_uppermost_layers_have_it() -> None:
    def with_python(*layers: io.BytesIO) -> Base:
        return base(layer({**PLAIN, PYTHON: ""}), *layers)

    assert with_python().is_ready
    assert not with_python(layer({PYTHON: ""}, mode=0o644)).is_ready
    assert with_python(layer({PYTHON: ""}, mode=0o644), layer({PYTHON: ""})).is_ready
    assert not with_python(layer({"opt/venv/bin/.wh.python": ""})).is_ready
    assert not with_python(layer({"opt/venv/.wh..wh..opq": ""})).is_ready
    assert not with_python(linked({"opt/venv/bin": "/usr/bin"}, {}, tarfile.SYMTYPE)).is_ready
    assert not with_python(layer({"usr/bin/": ""}, mode=0o775)).is_ready
    assert not with_python(layer({"usr/": ""}, uid=1)).is_ready
    assert not with_python(linked({"usr/bin": "/bin"}, {}, tarfile.SYMTYPE)).is_ready
    assert not with_python(layer({".wh.usr": ""}), layer({"usr/": ""})).is_ready
    assert not with_python(layer({"opt/": ""}, mode=0o700)).is_ready
    assert not base(layer({PYTHON: ""})).is_ready, "nothing is said of /usr"


def test_a_file_that_is_no_distribution_s() -> None:
    damaged = {f"{SITE}/x-1.dist-info/METADATA": "nothing", f"{SITE}/y/METADATA": "Name: y\nVersion: 1\n"}
    assert base(layer(damaged)) == Base("3.11", unseen=(f"/{SITE}/x-1.dist-info",))
    assert isinstance(base(layer(distribution("one", "1"))).installed[0], Installed)

"""From folders on a disk to trees: what is taken, what moves the digest, and what is refused."""

import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.errors import SourceChangedError, SourceError
from flytebuild.spec.tree import Tree, assemble, folder_entry, link_entry
from flytebuild.trees import content
from flytebuild.trees.ignore import Ignore
from flytebuild.trees.scan import scan, scan_file
from tests.samples import file_entry

NONE = Ignore.none()
TOP = Path(__file__).parents[2]

NAMES = st.binary(min_size=1, max_size=6).filter(lambda raw: raw not in (b".", b"..") and not set(raw) & {0, 47})
FILES = st.tuples(st.sampled_from(["file", "executable"]), st.binary(max_size=20))
LEAVES = FILES | st.tuples(st.just("link"), NAMES) | st.tuples(st.just("dir"), st.just({}))
LAYOUTS = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES, lambda inner: st.tuples(st.just("dir"), st.dictionaries(NAMES, inner, max_size=3)), max_leaves=6
    ),
    max_size=4,
)
Layout = dict[bytes, tuple[str, object]]


def digest_of(data: bytes) -> str:
    return blake3(data).hexdigest()


def write(folder: bytes, layout: Layout, *, backwards: bool = False) -> None:
    """Make on disk what a layout says."""
    os.makedirs(folder, exist_ok=True)
    for name, (kind, inside) in sorted(layout.items(), reverse=backwards):
        path = os.path.join(folder, name)
        if kind == "dir":
            write(path, inside, backwards=backwards)  # type: ignore[arg-type]
        elif kind == "link":
            os.symlink(inside, path)  # type: ignore[arg-type]
        else:
            with open(path, "wb") as file:
                file.write(inside)  # type: ignore[arg-type]
            os.chmod(path, 0o755 if kind == "executable" else 0o644)


def expected(layout: Layout, prefix: str = "") -> Tree:
    """The tree of a layout, without a disk."""

    def entries(layout: Layout, prefix: bytes) -> list[object]:
        found: list[object] = []
        for name, (kind, inside) in layout.items():
            path = (prefix + name).decode("utf-8", "surrogateescape")
            if kind == "dir":
                found += [folder_entry(path), *entries(inside, prefix + name + b"/")]  # type: ignore[arg-type]
            elif kind == "link":
                found.append(link_entry(path, inside.decode("utf-8", "surrogateescape")))  # type: ignore[attr-defined]
            else:
                data = inside
                found.append(file_entry(path, digest_of(data), len(data), executable=kind == "executable"))  # type: ignore[arg-type]
        return found

    return assemble(entries(layout, prefix.encode()))  # type: ignore[arg-type]


@given(LAYOUTS)
def test_any_tree_is_found_as_it_is(layout: Layout) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(os.fsencode(folder), b"root")
        write(root, layout)
        assert scan(Path(os.fsdecode(root)), NONE, None).tree == expected(layout)


@given(LAYOUTS)
def test_order_place_owner_and_times_do_not_matter(layout: Layout) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "one"), Path(folder, "else/where/other")
        write(os.fsencode(one), layout)
        write(os.fsencode(other), layout, backwards=True)
        for path, folders, files in os.walk(os.fsencode(other)):
            for name in folders + files:
                place = os.path.join(path, name)
                os.utime(place, (1, 1), follow_symlinks=False)
                if os.geteuid() == 0:
                    os.chown(place, 12345, 54321, follow_symlinks=False)
        os.chmod(other, 0o700)
        assert scan(one, NONE, None).tree == scan(other, NONE, None).tree


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2", "LC_ALL": "C"}, {"PYTHONUTF8": "0", "LC_ALL": "POSIX"}],
)
def test_process_locale_and_current_folder_do_not_matter(tmp_path: Path, variables: dict[str, str]) -> None:
    layout: Layout = {
        b"\xff\xfe": ("file", b"1"),
        "é".encode(): ("dir", {"🚀".encode(): ("link", b"\xfe"), b"a\nb c": ("executable", b"")}),
    }
    write(os.fsencode(tmp_path / "root"), layout)
    program = """
import json, sys
from pathlib import Path
from flytebuild.trees.ignore import Ignore
from flytebuild.trees.scan import scan
found = scan(Path(sys.argv[1]), Ignore.parse("x\\n!y", ""), None)
print(json.dumps([found.tree.digest, [entry.path for entry in found.tree.entries]]))
"""
    (tmp_path / "cwd").mkdir()
    for cwd, root in ((tmp_path / "cwd", "../root"), (tmp_path / "root", ".")):
        result = subprocess.run(
            [sys.executable, "-c", program, root],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(TOP), **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        tree = expected(layout)
        assert json.loads(result.stdout) == [tree.digest, [entry.path for entry in tree.entries]]


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a").rename(root / "c"),
        lambda root: (root / "a").chmod(0o744),
        lambda root: (root / "a").write_bytes(b"2"),
        lambda root: (root / "a").unlink(),
        lambda root: (root / "empty").rmdir(),
        lambda root: (root / "empty/more").mkdir(),
        lambda root: [(root / "link").unlink(), (root / "link").symlink_to("b")],
        lambda root: [(root / "link").unlink(), (root / "link").write_bytes(b"1")],
        lambda root: (root / "d/x").rename(root / "x"),
    ],
)
def test_what_reaches_an_image_moves_the_digest(tmp_path: Path, change: Callable[[Path], object]) -> None:
    layout: Layout = {
        b"a": ("file", b"1"),
        b"empty": ("dir", {}),
        b"link": ("link", b"a"),
        b"d": ("dir", {b"x": ("file", b"")}),
    }
    write(os.fsencode(tmp_path), layout)
    before = scan(tmp_path, NONE, None).tree.digest
    change(tmp_path)
    assert scan(tmp_path, NONE, None).tree.digest != before


@pytest.mark.parametrize("mode", [0o600, 0o444, 0o664, 0o655, 0o611])
def test_only_the_owners_x_counts(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "a").chmod(mode)
    assert scan(tmp_path, NONE, None).tree == assemble([file_entry("a", digest_of(b"1"), 1)])


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"1")
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to("../outside")
    (root / "file").symlink_to(tmp_path / "outside/secret")
    tree = scan(root, NONE, None).tree
    assert tree == assemble([link_entry("folder", "../outside"), link_entry("file", str(tmp_path / "outside/secret"))])


def test_a_root_that_is_a_link_is_the_folder_behind_it(tmp_path: Path) -> None:
    write(os.fsencode(tmp_path / "real"), {b"a": ("file", b"1")})
    (tmp_path / "link").symlink_to("real")
    found = scan(tmp_path / "link", NONE, None)
    assert found.root == (tmp_path / "real").resolve()
    assert found.tree == scan(tmp_path / "real", NONE, None).tree


def test_what_is_ignored_is_neither_read_nor_refused(tmp_path: Path) -> None:
    write(
        os.fsencode(tmp_path),
        {
            b"a.py": ("file", b"1"),
            b"build": ("dir", {b"keep": ("file", b"2"), b"drop": ("dir", {b"x": ("file", b"3")})}),
            b"cache": ("dir", {b"x": ("file", b"4")}),
            b"empty": ("dir", {}),
        },
    )
    os.mkfifo(tmp_path / "cache/fifo")
    os.mkfifo(tmp_path / "build/fifo")
    tree = scan(tmp_path, Ignore.parse("build\n!build/keep\ncache\n", "x"), None).tree
    assert [entry.path for entry in tree.entries] == ["a.py", "build", "build/keep", "empty"]
    everything = scan(tmp_path, Ignore.parse("**\n", "x"), None).tree
    assert everything == assemble([])


def test_what_sending_needs(tmp_path: Path) -> None:
    write(os.fsencode(tmp_path), {b"d": ("dir", {b"\xff": ("executable", b"1"), b"l": ("link", b"x")})})
    found = scan(tmp_path, NONE, None)
    assert found.root.is_absolute()
    shown = [(entry.path, entry.mode, entry.size, entry.target) for entry in found.tree.entries]
    assert shown == [("d", 0o755, 0, ""), ("d/l", 0o777, 0, "x"), ("d/\udcff", 0o755, 1, "")]
    with open(found.location(found.tree.entries[2]), "rb") as file:
        assert digest_of(file.read()) == found.tree.entries[2].digest


def test_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "real.sh").write_bytes(b"1")
    (tmp_path / "real.sh").chmod(0o755)
    (tmp_path / "run.sh").symlink_to("real.sh")
    for name in ("real.sh", "run.sh"):
        found = scan_file(tmp_path / name, None)
        assert found.tree == assemble([file_entry(name, digest_of(b"1"), 1, executable=True)])
        location = found.location(found.tree.entries[0])
        assert location == os.fsencode(tmp_path.resolve() / "real.sh")


def test_large_files_are_read_in_pieces(tmp_path: Path) -> None:
    data = os.urandom(content.LARGE) + b"x" * (5 << 20)
    for size in (content.LARGE - 1, content.LARGE, len(data)):
        (tmp_path / "a").write_bytes(data[:size])
        assert scan(tmp_path, NONE, None).tree.entries[0].digest == digest_of(data[:size])


@pytest.mark.parametrize("code", ["EAGAIN", "EOPNOTSUPP"])
def test_content_that_is_not_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    real, refused = content.read, []

    def read(descriptor: int, buffer: memoryview, offset: int, flags: int) -> int:
        if flags:
            refused.append(offset)
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        # A read may bring less than there is.
        return real(descriptor, buffer[: max(1, len(buffer) // 2)], offset, flags)

    write(os.fsencode(tmp_path), {b"%d" % number: ("file", b"%d" % number) for number in range(200)})
    monkeypatch.setattr(content, "_AT_ONCE", 8)
    monkeypatch.setattr(content, "read", read)
    tree = scan(tmp_path, NONE, None).tree
    assert len(refused) == 200
    assert all(entry.digest == digest_of(entry.path.encode()) for entry in tree.entries)


def _socket(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    here = os.open(path.parent, os.O_RDONLY)
    try:
        # The path of a socket may have 107 bytes.
        server.bind(f"/proc/self/fd/{here}/{path.name}" if sys.platform == "linux" else str(path))
    finally:
        os.close(here)
        server.close()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (_socket, "a socket"),
        (os.mkfifo, "a named pipe"),
        (lambda path: [path.touch(), path.chmod(0o4755)], "set-uid"),
        (lambda path: [path.touch(), path.chmod(0o2755)], "set-uid"),
    ],
)
def test_what_no_image_can_hold_is_refused(tmp_path: Path, make: Callable[[Path], object], what: str) -> None:
    place = tmp_path / "d/odd\nname"
    place.parent.mkdir()
    make(place)
    with pytest.raises(SourceError, match=what) as caught:
        scan(tmp_path, NONE, None)
    assert f"{tmp_path.resolve()}/d/odd\\nname" in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 65
    with pytest.raises(SourceError, match=what):
        scan_file(place, None)


def test_devices_are_refused() -> None:
    with pytest.raises(SourceError, match="`/dev/null` is a device"):
        scan_file(Path("/dev/null"), None)


def test_a_set_gid_folder_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775 | stat.S_ISVTX)
    assert scan(tmp_path, NONE, None).tree == assemble([folder_entry("shared")])


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_cannot_be_read_is_named(what: str) -> None:
    program = """
import os, sys
from pathlib import Path
from flytebuild.errors import SourceError
from flytebuild.trees.ignore import Ignore
from flytebuild.trees.scan import scan
if os.geteuid() == 0:
    os.setuid(65534)  # root may read everything
try:
    scan(Path(sys.argv[1]), Ignore.none(), None)
except SourceError as error:
    print(error.message)
"""
    # Not below pytest's own folder, which another user may not enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        place = Path(folder, "secret")
        place.mkdir() if what == "folder" else place.touch()
        place.chmod(0)
        result = subprocess.run(
            [sys.executable, "-c", program, folder],
            env={**os.environ, "PYTHONPATH": str(TOP)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        place.chmod(0o700)
    assert result.stdout.strip() == f"`{os.path.realpath(folder)}/secret` cannot be read: Permission denied"


def test_roots_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="file` is not a folder"):
        scan(tmp_path / "file", NONE, None)
    with pytest.raises(SourceError, match="nothing` does not exist"):
        scan(tmp_path / "nothing", NONE, None)
    with pytest.raises(SourceError, match="is a folder, where a file is needed"):
        scan_file(tmp_path, None)
    with pytest.raises(SourceError, match="nothing` does not exist"):
        scan_file(tmp_path / "nothing", None)


def _swap_for_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _swap_for_link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


def _swap_for_socket(path: Path) -> None:
    path.unlink()
    _socket(path)


def _swap_for_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replace(path: Path) -> None:
    other = path.with_name("other")
    shutil.copyfile(path, other)
    shutil.copystat(path, other)
    other.rename(path)


MEANWHILE: list[Callable[[Path], object]] = [
    lambda path: path.write_bytes(b"y" * path.stat().st_size),
    lambda path: path.write_bytes(b"longer" + path.read_bytes()),
    lambda path: path.write_bytes(b""),
    lambda path: os.truncate(path, path.stat().st_size - 1),
    lambda path: [path.unlink(), path.write_bytes(b"new")],
    lambda path: path.chmod(0o755),
    _replace,
]


@pytest.mark.parametrize("size", [10, content.LARGE + 10])
@pytest.mark.parametrize("change", MEANWHILE)
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], size: int
) -> None:
    place = tmp_path / "busy.log"
    place.write_bytes(b"x" * size)
    real, pending = content.read, [change]

    def read(descriptor: int, buffer: memoryview, offset: int, flags: int) -> int:
        count = real(descriptor, buffer, offset, flags)
        if pending:
            pending.pop()(place)
        return count

    monkeypatch.setattr(content, "read", read)
    with pytest.raises(SourceChangedError, match="changed while it was read") as caught:
        scan(tmp_path, NONE, None)
    assert str(place.resolve()) in caught.value.message
    assert caught.value.hint is not None
    assert "build again" in caught.value.hint


SWAPS = [_swap_for_pipe, _swap_for_socket, _swap_for_link, _swap_for_folder]


@pytest.mark.parametrize("change", [*MEANWHILE, lambda path: path.unlink(), *SWAPS])
def test_a_file_that_changes_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    (tmp_path / "a").write_bytes(b"first")
    place = tmp_path / "b"
    place.write_bytes(b"second")
    real, pending = content.read, [change]

    def read(descriptor: int, buffer: memoryview, offset: int, flags: int) -> int:
        if pending:
            pending.pop()(place)
        return real(descriptor, buffer, offset, flags)

    monkeypatch.setattr(content, "read", read)
    with pytest.raises(SourceChangedError, match="/b` changed while it was read"):
        scan(tmp_path, NONE, None)

"""Trees reach BuildKit as they were hashed, and images as they are described."""

import hashlib
import os
import secrets
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flytebuild.buildkit.excess import LARGEST
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.progress import Progress
from flytebuild.buildkit.session.files import Files
from flytebuild.buildkit.session.session import Session
from flytebuild.buildkit.solve import Solve, SolveError
from flytebuild.errors import DefinitionError
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
from flytebuild.llb.marshal import marshal
from flytebuild.llb.run import BindMount
from flytebuild.llb.source import local_name
from tests.conftest import TOP
from tests.engine.solving import FoundEntry, FoundTree, Solver, hashed

pytestmark = pytest.mark.engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder, and content that no earlier run has sent."""
    made = tmp_path / "src"
    made.mkdir()
    return made


def write(folder: Path, name: str, text: str = "", mode: int = 0o644) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_tree_arrives_with_what_its_digest_covers_and_nothing_else(solver: Solver, folder: Path) -> None:
    nonce = secrets.token_hex(8)
    write(folder, "plain", nonce, 0o600)
    write(folder, "script", nonce, 0o700)
    write(folder, "empty")
    for name in ("a/b", "a-b", "a.b", "a/c d", "a/new\nline", "a/ünïcode-日本", "a/*", "a/[x]?", "a/ trailing "):
        write(folder, name, f"{nonce} {name}")
    (folder / "hollow/inner").mkdir(parents=True)
    os.symlink("a/b", folder / "link")
    os.symlink("/nowhere/at all", folder / "dangling")
    os.symlink("../src", folder / "hollow/loop")
    os.utime(folder / "plain", (1, 1))
    tree = hashed(folder)

    found = solver.listed(tree.copied(solver.platform), tree)

    assert set(found) == {entry.path for entry in tree.entries}
    for entry in tree.entries:
        there = found[entry.path]
        assert (there["uid"], there["gid"]) == (0, 0)
        assert there["time"] == FIXED_TIME, entry.path
        assert there["target"] == entry.target
        if entry.kind == "dir":
            assert (there["kind"], there["mode"]) == ("dir", 0o755)
        elif entry.kind != "link":
            assert (there["kind"], there["mode"]) == ("file", 0o755 if entry.kind == "executable" else 0o644)
    read = solver.printed(
        "cd /look && cat plain && cat 'a/new\nline' && cat 'a/*'",
        tree,
        binds=(BindMount("/look", tree.copied(solver.platform)),),
    )
    assert read == f"{nonce}{nonce} a/new\nline{nonce} a/*"


def test_an_edit_that_changes_neither_size_nor_time_reaches_the_image(solver: Solver, folder: Path) -> None:
    for text in ("one", "two", "one"):
        os.utime(write(folder, "file", text), (1_000_000_000, 1_000_000_000))
        tree = hashed(folder)
        assert solver.printed("cat /f/file", tree, binds=(BindMount("/f", tree.state),)) == text
        assert solver.printed("cat /file", tree, state=tree.copied_onto(solver.base, solver.platform)) == text


def test_unchanged_trees_are_cached_in_another_session_wherever_they_are(
    solver: Solver, folder: Path, tmp_path: Path
) -> None:
    write(folder, "file", secrets.token_hex(8))
    other = tmp_path / "elsewhere"
    write(other, "file", (folder / "file").read_text(), 0o640)
    os.utime(other / "file", (5, 5))
    step = None
    for root, expected in ((folder, False), (other, True)):
        tree = hashed(root)
        # The same step both times: only the session is another.
        step = step or solver.shell("cat /rw/file", binds=(BindMount("/rw", tree.copied(solver.platform), "/", True),))
        solved = solver.solve(step, tree)
        assert solved.was_cached("copy") is expected
        assert solved.was_cached("shell") is expected


@pytest.mark.parametrize("writable", [False, True], ids=["ro", "rw"])
def test_a_step_on_a_mounted_tree_is_cached_in_another_session(solver: Solver, folder: Path, writable: bool) -> None:
    write(folder, "file", secrets.token_hex(8))
    tree = hashed(folder)
    step = solver.shell("cat /src/file", binds=(BindMount("/src", tree.state, writable=writable),))
    assert [solver.solve(step, tree).was_cached("shell") for _ in range(2)] == [False, True]


@pytest.mark.parametrize("what", ["edited", "longer", "gone", "link", "pipe", "folder"])
def test_a_file_that_changes_after_it_was_hashed_fails_the_solve_and_publishes_nothing(
    solver: Solver, folder: Path, what: str, registry_prefix: str
) -> None:
    text = secrets.token_hex(8)
    path = write(folder, "a/file", text)
    tree = hashed(folder)
    if what == "edited":
        path.write_text(text[::-1])
    elif what == "longer":
        path.write_text(text * 2)
    else:
        path.unlink()
        if what == "link":
            other = write(folder.parent, "other", text)
            path.symlink_to(other)
        elif what == "pipe":
            os.mkfifo(path)
        elif what == "folder":
            path.mkdir()
    state = tree.copied(solver.platform)
    image = f"{registry_prefix}/files:1"
    with pytest.raises(SolveError) as caught:
        solver.solve(state, tree, export=Export("image", {"name": image, "push": "true", "store": "false"}))
    assert caught.value.reason.message == "`a/file` changed while the image was built"
    assert caught.value.reason.hint
    assert not solver.is_published(image)

    # And nothing of the failed transfer is left behind for the next one.
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_text(text)
    assert solver.printed("cat /f/a/file", tree, binds=(BindMount("/f", tree.state),)) == text


def test_a_file_that_cannot_be_read_is_named(solver: Solver) -> None:
    # A file whose beginning even root cannot read.
    tree = FoundTree(Path("/proc/self"), (FoundEntry("mem", "file", 1, digest=secrets.token_hex(32)),))
    with pytest.raises(SolveError) as caught:
        solver.solve(tree.state, tree)
    assert caught.value.reason.message == "`mem` cannot be read (Input/output error)"


def test_a_tree_that_the_session_does_not_have(solver: Solver, folder: Path) -> None:
    write(folder, "file", "x")
    with pytest.raises(SolveError, match=r"^this build has no files called `tree-"):
        solver.solve(hashed(folder).state)


def test_names_that_are_no_text_are_refused_before_anything_is_sent(solver: Solver, folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9")).write_text("x")
    with pytest.raises(DefinitionError, match=r"The name of `caf\\xe9` in `.*/src` is not UTF-8"):
        solver.solve(hashed(folder).state, hashed(folder))


def test_many_trees_at_the_same_time(solver: Solver, tmp_path: Path) -> None:
    """More than a session once had threads: its health check must be answered all the while."""
    trees = []
    for number in range(40):
        write(tmp_path / str(number), "file", secrets.token_hex(8))
        trees.append(hashed(tmp_path / str(number)))
    binds = tuple(BindMount(f"/t/{number}", tree.state) for number, tree in enumerate(trees))
    assert solver.printed("ls /t | wc -l", *trees, binds=binds) == "40"


MEMORY = """
import sys
from pathlib import Path
from types import SimpleNamespace
from flytebuild.llb.run import BindMount
from tests.engine.solving import FoundEntry, FoundTree, connected
folder, size, digest, mirror = sys.argv[1:]
tree = FoundTree(Path(folder), (FoundEntry("large", "file", int(size), digest=digest),))
with connected(SimpleNamespace(mirrors={"ghcr.io": mirror})) as solver:
    script = "cd /f; stat -c %s *; dd if=large bs=1M skip=500 count=1 2>/dev/null | sha256sum"
    look = solver.shell(script, binds=(BindMount("/f", tree.state),))
    solved = solver.solve(look, tree)
    (transfer,) = solved.transfers
# Not from `getrusage`, which counts the process that started this one.
(memory,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(solved.log, transfer.content, memory)
"""


def test_600_mib_are_a_stream(solver: Solver, folder: Path) -> None:
    """And never in memory: neither is all of a file, nor what BuildKit has not taken yet."""
    size, block = 600 << 20, secrets.token_bytes(1 << 20)
    with (folder / "large").open("wb") as file:
        for offset in range(0, size, 100 << 20):
            file.seek(offset)
            file.write(block)
        file.truncate(size)
    (entry,) = hashed(folder).entries
    command = [sys.executable, "-c", MEMORY, folder, str(size), entry.digest, solver.mirror]
    *log, content, memory = subprocess.check_output(command, cwd=TOP, text=True).split()
    assert log == [str(size), hashlib.sha256(block).hexdigest(), "-"]
    assert int(content) == size
    assert int(memory) < 200 * 1024


@pytest.mark.parametrize("size", [LARGEST - 4096, LARGEST], ids=["fits", "does not fit"])
def test_a_request_as_large_as_may_be(solver: Solver, size: int) -> None:
    state = make_file(None, "/file", secrets.token_bytes(16) + bytes(size - 16), solver.platform, name="write /file")
    if size < LARGEST:
        solver.solve(state)
    else:
        with pytest.raises(SolveError, match=r"BuildKit takes no more than 4\.0 MiB.* the step `write /file`"):
            solver.solve(state)


def transfers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.endswith("/DiffCopy")}


def test_cancelling_a_solve_ends_its_transfer(solver: Solver, folder: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.write(secrets.token_bytes(16))
        file.truncate(8 << 30)
    # It is never sent to its end, so its digest does not matter.
    tree = FoundTree(folder, (FoundEntry("large", "file", 8 << 30, digest=secrets.token_hex(32)),))
    session = Session(solver.connection, (Files({local_name(tree.digest): tree}),))
    session.open()
    try:
        solve = Solve(solver.connection, session.id)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(solve.run, marshal(tree.state), None, Progress("test", lambda _event: None))
            deadline = time.monotonic() + 60
            while not transfers() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert transfers()
            solve.cancel()
            with pytest.raises(SolveError, match="cancelled"):
                running.result(60)
        for thread in transfers():
            thread.join(60)
        assert not transfers()
    finally:
        session.close()


def test_a_folder_or_its_contents(solver: Solver, folder: Path) -> None:
    write(folder, "pkg/mod.py", secrets.token_hex(8))
    tree = hashed(folder)
    there = make_folder(None, "/dest", solver.platform, name="dest")

    def copied(src: str, dest: str, contents_only: bool) -> set[str]:
        state = copy(
            there, tree.state, src, dest, solver.platform, name="copy", contents_only=contents_only, time=FIXED_TIME
        )
        return {path for path, entry in solver.listed(state, tree).items() if entry["kind"] == "file"}

    assert copied("/pkg", "/dest", True) == {"dest/mod.py"}
    assert copied("/pkg", "/dest", False) == {"dest/pkg/mod.py"}
    assert copied("/pkg", "/new/x", True) == {"new/x/mod.py"}
    assert copied("/pkg", "/new/x", False) == {"new/x/mod.py"}
    assert copied("/", "/new", True) == {"new/pkg/mod.py"}
    assert copied("/pkg/mod.py", "/dest", False) == {"dest/mod.py"}
    assert copied("/pkg/mod.py", "/new/file", False) == {"new/file"}
    assert copied("/pkg/mod.py", "/new/", False) == {"new/mod.py"}


def test_owners_by_number_and_by_name(solver: Solver, folder: Path) -> None:
    write(folder, "file", secrets.token_hex(8))
    tree = hashed(folder)
    uid, gid, group = solver.printed("id -u flyte; id -g flyte; getent group daemon | cut -d: -f3").split()

    def owner(given: Owner, onto_base: bool = False) -> tuple[int, int]:
        if onto_base:
            state = copy(solver.base, tree.state, "/", "/owned", solver.platform, name="copy", owner=given)
            found = solver.listed(state, tree, below="/owned")
        else:
            found = solver.listed(tree.copied(solver.platform, given), tree)
        return found["file"]["uid"], found["file"]["gid"]

    assert owner(Owner(7, 8)) == (7, 8)
    assert owner(Owner("flyte"), onto_base=True) == (int(uid), int(gid))
    assert owner(Owner("flyte", "daemon"), onto_base=True) == (int(uid), int(group))
    assert owner(Owner("flyte", of=solver.base)) == (int(uid), int(gid))
    # BuildKit says nothing of a name that is not there.
    assert owner(Owner("nobody-of-that-name", of=solver.base)) == (0, 0)


def test_made_files_and_folders(solver: Solver) -> None:
    nonce = secrets.token_hex(8)
    files = {"/a/b/one": nonce.encode(), "/two": b"\0\xff", "/a/empty": b""}
    state = make_files(None, files, solver.platform, name="files", mode=0o640, owner=Owner(5, 6))
    state = make_folder(state, "/deep/er", solver.platform, name="folder", mode=0o700, owner=Owner(9))
    # What is there already stays as it is.
    state = make_folder(state, "/a/b", solver.platform, name="folder", mode=0o700, owner=Owner(9))
    found = solver.listed(state)
    assert set(found) == {"a", "a/b", "a/b/one", "a/empty", "two", "deep", "deep/er"}
    seen = {path: (entry["mode"], entry["uid"], entry["gid"]) for path, entry in found.items()}
    assert seen["a/b/one"] == seen["two"] == (0o640, 5, 6)
    assert seen["a"] == seen["a/b"] == (0o755, 5, 6)
    assert seen["deep"] == seen["deep/er"] == (0o700, 9, 9)
    assert {found[path]["time"] for path in files for path in [path[1:]]} == {FIXED_TIME}
    assert found["two"]["sha256"] == hashlib.sha256(b"\0\xff").hexdigest()


def test_several_actions_are_one_layer(solver: Solver, folder: Path) -> None:
    write(folder, "file", secrets.token_hex(8))
    tree = hashed(folder)
    actions = (
        MakeFolder("/a", mode=0o750),
        Copy(tree.state, "/", "/a", contents_only=True, time=FIXED_TIME),
        MakeFile("/a/more", b"more"),
        Copy(tree.state, "/file", "/a/again", mode=0o600, owner=Owner(3), time=FIXED_TIME),
    )
    found = solver.listed(change(None, actions, solver.platform, name="step"), tree)
    assert set(found) == {"a", "a/file", "a/more", "a/again"}
    assert found["a"]["mode"] == 0o750
    assert (found["a/again"]["mode"], found["a/again"]["uid"], found["a/again"]["gid"]) == (0o600, 3, 3)


def test_equal_trees_become_equal_images(solver: Solver, folder: Path, registry_prefix: str) -> None:
    write(folder, "a/file", "the same in every run", 0o755)
    os.symlink("a/file", folder / "link")
    layers = []
    for number in range(2):
        tree = hashed(folder)
        # A copy to another place first, so that the second result is no cached one.
        other = make_file(None, f"/{secrets.token_hex(8)}", b"", solver.platform, name="other")
        state = copy(other, tree.copied(solver.platform), "/", "/dest", solver.platform, name="again", time=FIXED_TIME)
        state = copy(None, state, "/dest", "/dest", solver.platform, name="only", time=FIXED_TIME)
        image = f"{registry_prefix}/equal:{number}"
        solver.solve(state, tree, export=Export("image", {"name": image, "push": "true", "store": "false"}))
        layers.append(solver.layers(image))
    assert layers[0] == layers[1]

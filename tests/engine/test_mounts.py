"""What a step sees of its mounts and secrets, and what is left of them."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from flytebuild.buildkit.solve import SolveError
from flytebuild.llb.file import make_files
from flytebuild.llb.run import BindMount, CacheMount, SecretFile, SecretVariable, TmpfsMount, run
from flytebuild.llb.state import State
from tests.engine.solving import CONTEXT, Solver

pytestmark = pytest.mark.engine


def files(solver: Solver) -> State:
    return make_files(None, {"/a/file": b"content", "/b": b"other"}, solver.platform, name="files")


def test_a_bind_mount_is_read_only_and_may_be_a_part(solver: Solver) -> None:
    binds = (BindMount("/all", files(solver)), BindMount("/one", files(solver), "/a/file"))
    script = "cat /all/a/file /one; touch /all/x 2>/dev/null || echo ' refused'; echo x 2>/dev/null >/one || echo no"
    assert solver.printed(script, binds=binds).splitlines() == ["contentcontent refused", "no"]


def test_a_step_is_cached_as_long_as_what_it_mounts_is_the_same(solver: Solver) -> None:
    nonce = secrets.token_hex(8)
    args = ["/bin/sh", "-c", f"cat /part/file; cat /all/b 2>/dev/null || true # {nonce}"]

    def solved(content: str, *, part_only: bool) -> tuple[str, bool]:
        state = make_files(None, {"/a/file": b"1", "/b": content.encode()}, solver.platform, name="files")
        all_ = () if part_only else (BindMount("/all", state),)
        binds = (BindMount("/part", state, "/a"), *all_)
        done = solver.solve(run(solver.base, args, CONTEXT, solver.platform, name="shell", binds=binds))
        return done.log, done.was_cached("shell")

    assert solved(f"2{nonce}", part_only=True) == ("1", False)
    assert solved(f"3{nonce}", part_only=True) == ("", True)
    # One state in two mounts: what is only in the larger part counts as well.
    assert solved(f"2{nonce}", part_only=False) == (f"12{nonce}", False)
    assert solved(f"3{nonce}", part_only=False) == (f"13{nonce}", False)


def test_what_is_written_to_a_bind_mount_is_thrown_away(solver: Solver) -> None:
    state = files(solver)
    binds = (BindMount("/rw/here", state, writable=True), BindMount("/ro", state))
    step = solver.shell("echo changed >/rw/here/b; touch /rw/here/new; cat /rw/here/b /ro/b; touch /kept", binds=binds)
    assert solver.solve(step).log == "changed\nother"
    # Nothing of the mount stays in the image, the folder above it neither.
    assert solver.printed("test ! -e /rw; ls /kept", state=step) == "/kept"
    again = solver.printed("ls /rw/here /ro; cat /ro/b", binds=binds)
    assert again.split() == ["/ro:", "a", "b", "/rw/here:", "a", "b", "other"]


def test_mounts_in_mounts(solver: Solver) -> None:
    """However they are given, a folder is mounted before what is in it."""
    state = files(solver)
    printed = solver.printed(
        "ls /src /src/a; touch /src/a/tmp/x; ls /src/a/tmp; cat /src/a/file",
        binds=(BindMount("/src/a", state, "/a", writable=True), BindMount("/src", state, writable=True)),
        tmpfs=(TmpfsMount("/src/a/tmp"),),
        caches=(CacheMount("/src/a/cache", f"flytebuild-test-{secrets.token_hex(8)}", "private"),),
    )
    assert printed.split() == ["/src:", "a", "b", "/src/a:", "cache", "file", "tmp", "x", "content"]


def test_tmpfs_is_in_memory_limited_and_gone_with_the_step(solver: Solver) -> None:
    tmpfs = (TmpfsMount("/fast", 1 << 20),)
    step = solver.shell(
        "grep ' /fast ' /proc/mounts | cut -d' ' -f3; echo x >/fast/x; "
        "dd if=/dev/zero of=/fast/big bs=1M count=2 2>/dev/null || echo full",
        tmpfs=tmpfs,
    )
    assert solver.solve(step).log.split() == ["tmpfs", "full"]
    assert solver.printed("ls /fast 2>/dev/null | wc -l", state=step) == "0"


def test_a_private_cache_holds_up_no_other_step(solver: Solver) -> None:
    """Each of two steps waits for the other one, in a cache that both have."""
    token = secrets.token_hex(8)
    caches = (CacheMount("/own", f"own-{token}", "private"), CacheMount("/met", f"met-{token}", "shared"))

    def meet(mine: str, other: str) -> str:
        wait = f"for i in $(seq 1200); do if test -e /met/{other}; then break; fi; sleep 0.1; done"
        return solver.printed(f"touch /own/{mine} /met/{mine}; {wait}; ls /own /met", caches=caches)

    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(meet, "ab", "ba"))
    assert [text.split() for text in seen] == [["/met:", "a", "b", "/own:", mine] for mine in "ab"]
    # Whoever comes later has one of the two.
    assert solver.printed("ls /own", caches=caches) in ("a", "b")


def test_a_step_without_a_network(solver: Solver) -> None:
    assert solver.printed("ls /sys/class/net", has_network=False) == "lo"
    assert "eth0" in solver.printed("ls /sys/class/net").split()


def test_secrets_that_are_there(solver: Solver) -> None:
    value = secrets.token_hex(8)
    step = solver.shell(
        "cat /run/one; stat -c ' %a %u %g' /run/one; cat /run/two; stat -c ' %a %u %g' /run/two; echo $NAME",
        files=(SecretFile("/run/one", "id"), SecretFile("/run/two", "id", True, uid=7, gid=8, mode=0o400)),
        variables=(SecretVariable("NAME", "id", required=True),),
    )
    solved = solver.solve(step, given={"id": value.encode()})
    assert solved.log.splitlines() == [f"{value} 444 0 0", f"{value} 400 7 8", value]
    assert value.encode() not in step.vertex.encoded
    assert solver.printed("cat /run/one /run/two 2>/dev/null || echo .$NAME.", state=step) == ".."


def test_an_optional_secret_that_is_not_there_is_no_file_and_an_empty_variable(solver: Solver) -> None:
    printed = solver.printed(
        "ls /run/one 2>/dev/null || echo none; env | grep ^NAME",
        files=(SecretFile("/run/one", "id"),),
        variables=(SecretVariable("NAME", "id"),),
    )
    assert printed.split() == ["none", "NAME="]


@pytest.mark.parametrize("kind", ["file", "variable"])
def test_a_required_secret_that_is_not_there_fails_the_step_by_its_name(solver: Solver, kind: str) -> None:
    name = "group/my secret: 1"
    step = solver.shell(
        "echo executed",
        files=(SecretFile("/run/one", name, required=True),) if kind == "file" else (),
        variables=(SecretVariable("NAME", name, required=True),) if kind == "variable" else (),
    )
    with pytest.raises(SolveError) as caught:
        solver.solve(step, given={"other": b"x"})
    reason = caught.value.reason
    assert reason.message == f"The secret `{name}` is required by this step, and there is none"
    assert reason.secret == name
    assert reason.hint
    assert reason.vertex == step.vertex.digest
    assert reason.exit_code is None

"""A registry that refuses, stumbles or breaks off while an image is pushed, by a proxy in front of the real one."""

import json
import secrets
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from tests.command import command
from tests.engine.conftest import Workspace, repository_tags
from tests.registry_proxy import HANG, proxied
from tests.tcp_proxy import breaking

pytestmark = pytest.mark.engine

SOURCE = """
import flyte

env = flyte.TaskEnvironment(name="env", image=flyte.Image.from_debian_base(name="one").with_commands(["echo {token}"]))
"""


@dataclass(frozen=True)
class Fault:
    """What the proxy answers to which requests, and how the build then ends."""

    status: int
    method: str
    part: str
    code: int
    words: tuple[str, ...]

    def __call__(self, method: str, path: str, _headers: httpx.Headers) -> int | None:
        return self.status if method == self.method and self.part in path else None


UPLOAD = "/one/blobs/uploads/"
LASTING = {
    "no credentials": Fault(401, "POST", UPLOAD, 69, ("Nothing can be pushed to", "hint: `docker login 127.0.0.1:")),
    "not allowed": Fault(403, "POST", UPLOAD, 69, ("Nothing can be pushed to", "hint: `docker login 127.0.0.1:")),
    "not in the end": Fault(
        403, "PUT", UPLOAD, 1, ("403 Forbidden", "the credentials that were found may not do this")
    ),
    "no repository": Fault(404, "POST", UPLOAD, 1, ("404 Not Found", "the registry has no such repository")),
    "too many requests": Fault(
        429, "POST", UPLOAD, 75, ("tried again in 1 s", "429 Too Many Requests", "set up a mirror of it")
    ),
    "broken manifests": Fault(500, "PUT", "/one/manifests/sha256:", 1, ("500 Internal", "a problem of its own")),
    "no tag": Fault(403, "PUT", "/one/manifests/b3-", 1, ("cannot be published", "refuses access to")),
}


THREE = """
import flyte

def image(name, registry=None):
    return flyte.Image.from_debian_base(name=name, registry=registry).with_commands(["echo {token}"])

one = flyte.TaskEnvironment(name="one", image=image("denied", "DENIED"))
two = flyte.TaskEnvironment(name="two", image=image("denied", "DENIED").with_env_vars({{"TWO": "2"}}))
three = flyte.TaskEnvironment(name="three", image=image("taken"))
"""


@dataclass
class Fleeting:
    """Answers the first requests of a kind with a status, and passes on those that follow."""

    status: int
    method: str
    part: str
    rest: int

    def __call__(self, method: str, path: str, _headers: httpx.Headers) -> int | None:
        if method != self.method or self.part not in path or not self.rest:
            return None
        self.rest -= 1
        return self.status


FLEETING = {
    # It is asked before the build as well.
    "a busy registry": Fleeting(429, "POST", UPLOAD, 2),
    "a registry that stumbles": Fleeting(503, "PUT", "/one/manifests/sha256:", 1),
    "one that stumbles at the end": Fleeting(503, "PUT", "/one/manifests/b3-", 1),
}


def test_a_push_that_fails_says_so_and_leaves_no_tag(workspace: Workspace, registry_prefix: str) -> None:
    """One image behind one proxy per fault, all at the same time: most of it is waiting."""
    workspace.write({"one.py": SOURCE.format(token=secrets.token_hex(8))})
    host, _, path = registry_prefix.partition("/")
    with ExitStack() as stack, ThreadPoolExecutor(len(LASTING)) as pool:
        proxies = {name: stack.enter_context(proxied(host, fault)) for name, fault in LASTING.items()}

        def build(name: str) -> subprocess.CompletedProcess[str]:
            target = f"{proxies[name].host}/{path}/{name.replace(' ', '-')}"
            environ = {**workspace.environ, "FLYTEBUILD_REGISTRY": target}
            return command(("build", "one.py"), workspace.folder, environ)

        for name, done in zip(LASTING, pool.map(build, LASTING), strict=True):
            assert done.returncode == LASTING[name].code, f"{name}: {done.stderr}"
            assert [word for word in LASTING[name].words if word not in done.stderr] == [], f"{name}: {done.stderr}"
            # Where it is known beforehand, nothing is built.
            begun = [words for words in ("building", "step failed: publishing") if words in done.stderr]
            assert len(begun) == (0 if done.returncode == 69 else 2), f"{name}: {done.stderr}"
            assert repository_tags(f"{host}/{path}/{name.replace(' ', '-')}", "one") == set()


def test_an_image_that_may_not_be_pushed_does_not_stop_others(workspace: Workspace, registry_prefix: str) -> None:
    host, _, path = registry_prefix.partition("/")
    with proxied(host, Fault(403, "POST", "/denied/blobs/uploads/", 1, ())) as proxy:
        source = THREE.format(token=secrets.token_hex(8)).replace("DENIED", f"{proxy.host}/{path}")
        workspace.write({"three.py": source})
        failed = workspace.flytebuild("build", "three.py", code=1)
        asked = [call for call in proxy.calls if call.method == "POST"]
        assert len(asked) == 1, asked
        assert failed.stderr.count("step failed: asking to push  (image of ") == 2
        assert "three: built" in failed.stderr
    assert workspace.statuses("three.py")["three"] == "present"


def test_what_passes_by_itself_is_waited_out(workspace: Workspace, registry_prefix: str) -> None:
    workspace.write({"one.py": SOURCE.format(token=secrets.token_hex(8))})
    host, _, path = registry_prefix.partition("/")
    with ExitStack() as stack, ThreadPoolExecutor(len(FLEETING)) as pool:
        proxies = {name: stack.enter_context(proxied(host, fault)) for name, fault in FLEETING.items()}

        def build(name: str) -> subprocess.CompletedProcess[str]:
            target = f"{proxies[name].host}/{path}/{name.replace(' ', '-')}"
            environ = {**workspace.environ, "FLYTEBUILD_REGISTRY": target}
            return command(("build", "--json", "one.py"), workspace.folder, environ)

        for name, done in zip(FLEETING, pool.map(build, FLEETING), strict=True):
            assert done.returncode == 0, f"{name}: {done.stderr}"
            assert [image["result"] for image in json.loads(done.stdout)["images"]] == ["built"]
            assert FLEETING[name].rest == 0
            assert len(repository_tags(f"{host}/{path}/{name.replace(' ', '-')}", "one")) == 1


def test_a_connection_that_breaks_in_the_middle_of_a_push(workspace: Workspace, registry_prefix: str) -> None:
    """The first upload is cut off after some bytes; what follows goes through."""
    workspace.write({"one.py": SOURCE.format(token=secrets.token_hex(8))})
    host, _, path = registry_prefix.partition("/")
    with breaking(host, b"PUT /v2/" + f"{path}/one/blobs/uploads/".encode(), 1) as proxy:
        workspace.flytebuild("build", "one.py", FLYTEBUILD_REGISTRY=f"{proxy.host}/{path}")
        assert proxy.rest == 0
    assert len(repository_tags(registry_prefix, "one")) == 1


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (UPLOAD, "`pushing layers` of `{path}/one` has not moved for"),
        ("/one/manifests/sha256:", "`pushing manifest for {host}/{path}/one` of `{path}/one` has not moved for"),
    ],
    ids=["layers", "manifest"],
)
def test_a_push_to_a_registry_that_hangs_is_given_up(
    workspace: Workspace, registry_prefix: str, part: str, words: str
) -> None:
    workspace.write({"one.py": SOURCE.format(token=secrets.token_hex(8))})
    host, _, path = registry_prefix.partition("/")
    with proxied(host, Fault(HANG, "PUT", part, 1, ())) as proxy:
        environ = {"FLYTEBUILD_REGISTRY": f"{proxy.host}/{path}", "FLYTEBUILD_PUSH_TIMEOUT": "2"}
        failed = workspace.flytebuild("build", "one.py", code=1, **environ)
        assert f"step failed: publishing {proxy.host}/{path}/one" in failed.stderr
        assert f"`{proxy.host}` hangs: " + words.format(host=proxy.host, path=path) in failed.stderr
        assert "hint: look at the registry" in failed.stderr
        assert "FLYTEBUILD_PUSH_TIMEOUT" in failed.stderr
        assert repository_tags(registry_prefix, "one") == set()

        proxy.answer = None
        workspace.flytebuild("build", "one.py", **environ)
        assert len(repository_tags(registry_prefix, "one")) == 1


def test_a_push_that_is_slow_is_waited_for(workspace: Workspace, registry_prefix: str) -> None:
    """BuildKit tells nothing for longer than a push may not move, and the registry takes what it is asked to take."""
    source = SOURCE.replace("echo", "head -c 2000000 /dev/urandom >/random #")
    workspace.write({"one.py": source.format(token=secrets.token_hex(8))})
    host, _, path = registry_prefix.partition("/")
    with proxied(host) as proxy:
        proxy.pace = 200_000
        environ = {"FLYTEBUILD_REGISTRY": f"{proxy.host}/{path}", "FLYTEBUILD_PUSH_TIMEOUT": "4"}
        workspace.flytebuild("build", "one.py", FLYTEBUILD_CACHE="off", **environ)
        # It was asked whether it still takes anything.
        assert [call.sent for call in proxy.uploads(f"{path}/one") if call.sent == 2]
    assert len(repository_tags(registry_prefix, "one")) == 1

"""A step of an image in its place: what it changes, and what it sees."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from flytebuild.inside import text_of
from flytebuild.llb import trust
from flytebuild.llb.file import make_file
from flytebuild.llb.proxies import Proxies
from flytebuild.llb.run import BindMount, CacheMount, TmpfsMount, run
from flytebuild.llb.state import State
from flytebuild.spec.images import Platform, RuntimeConfig
from flytebuild.spec.layers import PipOptions, Secret
from flytebuild.spec.tree import Tree

_UV_CACHE = CacheMount("/root/.cache/uv", "flytebuild-uv", "shared")
"""uv's cache, which is safe for several writers: steps of several images install at the same time."""

_UV_STATE = TmpfsMount("/run/flytebuild-uv")
"""Where uv keeps what is of no use afterwards, and would otherwise be part of the image: locks above all."""

SCRATCH = CacheMount("/run/flytebuild-tmp", "flytebuild-tmp", "private")
"""For temporary files, of which uv leaves some. On disk, since builds of packages may need much; no step sees
what another one left there at the same time, since uv's locks are named by paths, which are the same in all steps."""

_BYTECODE = "/run/flytebuild-bytecode.py"
"""Where `flytebuild.inside.bytecode` is while a project is installed."""

_INVALIDATION = "PYC_INVALIDATION_MODE"
_TRUE = frozenset(("1", "true", "t", "yes", "y", "on"))

_VARIABLE = re.compile(r"\$\{\w+\}")
_SPECIAL = re.compile(r'[\\"`]|\$(?!\{\w+\})')
"""What a shell does not take as it is between double quotes, but for `${NAME}`."""


class Step(Struct, frozen=True):
    """What a layer starts from: the file system below it, and what its processes see.

    `has_bundle` says whether the session has a CA bundle for them, `proxies` which way they reach the network.
    """

    state: State
    context: RuntimeConfig
    platform: Platform
    name: str
    has_bundle: bool = False
    proxies: Proxies = field(default_factory=Proxies)

    @property
    def env(self) -> dict[str, str]:
        """The environment that the step sees."""
        return dict(self.context.env)

    def with_env(self, **pairs: str) -> Step:
        """The same step with variables that nothing else gets to see."""
        return replace(self, context=replace(self.context, env=(*self.context.env, *pairs.items())))

    def run(
        self,
        arguments: Sequence[str],
        *,
        binds: Sequence[BindMount] = (),
        caches: Sequence[CacheMount] = (),
        tmpfs: Sequence[TmpfsMount] = (),
        secrets: tuple[Secret, ...] = (),
    ) -> State:
        """What a process leaves; it trusts what the host trusts, and its own variables come before the host's."""
        given = (*(trust.BUNDLE_VARIABLES if self.has_bundle else ()), *trust.INDEXES)
        return run(
            self.state,
            arguments,
            self.context,
            self.platform,
            name=self.name,
            binds=binds,
            caches=caches,
            tmpfs=tmpfs,
            files=(*(trust.BUNDLE_FILES if self.has_bundle else ()), *trust.files(secrets)),
            variables=(*(item for item in given if item.name not in self.env), *trust.variables(secrets)),
            proxies=self.proxies.without(self.env),
        )

    def run_uv(
        self,
        arguments: Sequence[str],
        *,
        binds: Sequence[BindMount] = (),
        caches: Sequence[CacheMount] = (),
        secrets: tuple[Secret, ...] = (),
    ) -> State:
        """What a process leaves that calls uv, which keeps its own things elsewhere than in the image."""
        placed = self.with_env(
            UV_CACHE_DIR=_UV_CACHE.target,
            UV_CREDENTIALS_DIR=_UV_STATE.target,
            UV_TOOL_DIR=f"{_UV_STATE.target}/tools",
            TMPDIR=SCRATCH.target,
        )
        given = (_UV_CACHE, SCRATCH, *caches)
        return placed.run(arguments, binds=binds, caches=given, tmpfs=(_UV_STATE,), secrets=secrets)

    def install_packages(
        self, arguments: Sequence[str], *, binds: Sequence[BindMount] = (), secrets: tuple[Secret, ...] = ()
    ) -> State:
        """What `uv pip install` leaves, and the bytecode that it makes of it.

        That is known by the content of its source, and trusted without a look at it (PEP 552). By default it would be
        known by the source's time, which differs with every installation. Users may want it otherwise, to change
        sources later on: variables of the image's come first.
        """
        by_content = {} if _INVALIDATION in self.env else {_INVALIDATION: "UNCHECKED_HASH"}
        return self.with_env(**by_content).run_uv(arguments, binds=binds, secrets=secrets)

    def install_project(
        self,
        arguments: Sequence[str],
        python: str,
        *,
        binds: Sequence[BindMount],
        caches: Sequence[CacheMount] = (),
        secrets: tuple[Secret, ...] = (),
    ) -> State:
        """What a process leaves that installs a project's packages for `python`, and the same kind of bytecode.

        It is ours to make: `uv sync` would compile all packages there are, those of layers below included, and Poetry
        none.
        """
        env = self.env
        if env.get("UV_COMPILE_BYTECODE", "").lower() not in _TRUE or _INVALIDATION in env:
            return self.run_uv(arguments, binds=binds, caches=caches, secrets=secrets)
        script = make_file(
            None, "/bytecode.py", text_of("bytecode").encode(), self.platform, name="program that compiles bytecode"
        )
        return self.with_env(UV_COMPILE_BYTECODE="0").run_uv(
            (python, "-I", _BYTECODE, *arguments),
            binds=(*binds, BindMount(_BYTECODE, script, "/bytecode.py")),
            caches=caches,
            secrets=secrets,
        )


def of_its_own(folder: str, *trees: Tree) -> str:
    """A folder below `folder` for sources that are built, which no others are ever in.

    uv keeps what it built by the source's path, and takes that for up to date while the times of a few of its files
    stay; BuildKit sends only what changed, so these may stay although others did not.
    """
    content = hashlib.sha256("".join(tree.digest for tree in trees).encode())
    return f"{folder}/{content.hexdigest()[:16]}"


def shell(text: str) -> tuple[str, ...]:
    """The arguments that run shell text."""
    return ("/bin/sh", "-c", text)


def text(arguments: Sequence[str]) -> str:
    """The shell text of a command line, which may be one already."""
    return arguments[2] if tuple(arguments[:2]) == ("/bin/sh", "-c") else shlex.join(arguments)


def with_extra(arguments: Sequence[str], extra: str, last: Sequence[str] = ()) -> tuple[str, ...]:
    """A command line with the user's shell text in it; without such text no shell is involved.

    Nor without `${NAME}` in the arguments: a shell puts values there that are secrets, and so in no operation.
    """
    if not extra and not any(_VARIABLE.search(argument) for argument in arguments):
        return (*arguments, *last)
    words = (" ".join(map(_quoted, arguments)), extra, shlex.join(last))
    return shell(" ".join(filter(None, words)))


def has_option(extra: str, *names: str) -> bool:
    """Whether the user's shell text gives one of these options."""
    return any(word.partition("=")[0] in names for word in extra.split())


def _quoted(argument: str) -> str:
    """A word of shell text, in which nothing but `${NAME}` means anything."""
    if not _VARIABLE.search(argument):
        return shlex.quote(argument)
    return '"' + _SPECIAL.sub(r"\\\g<0>", argument) + '"'


def index_arguments(options: PipOptions) -> tuple[str, ...]:
    """The options of uv that say where packages come from."""
    arguments = ["--index-url", options.index_url] if options.index_url else []
    for url in options.extra_index_urls:
        arguments += ["--extra-index-url", url]
    return tuple(arguments)


def pip_arguments(step: Step, options: PipOptions, *what: str) -> tuple[str, ...]:
    """`uv pip install` into the Python that the image's settings name."""
    arguments = ["uv", "pip", "install", "--python", step.env["UV_PYTHON"], *index_arguments(options)]
    if options.pre:
        arguments += ["--pre"]
    return with_extra(arguments, options.extra_args, what)

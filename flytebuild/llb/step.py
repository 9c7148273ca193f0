"""A step of an image in its place: what it changes, and what it sees."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from flytebuild.llb import trust
from flytebuild.llb.run import BindMount, CacheMount, run
from flytebuild.llb.state import State
from flytebuild.spec.images import Platform, RuntimeConfig
from flytebuild.spec.layers import PipOptions, Secret

UV_CACHE = CacheMount("/root/.cache/uv", "flytebuild-uv", "shared")
"""uv's cache, which is safe for several writers: steps of several images install at the same time."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a layer starts from: the file system below it, and what its processes see.

    `has_bundle` says whether the session has a CA bundle for them.
    """

    state: State
    context: RuntimeConfig
    platform: Platform
    name: str
    has_bundle: bool = False

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
            files=(*(trust.BUNDLE_FILES if self.has_bundle else ()), *trust.files(secrets)),
            variables=(*(item for item in given if item.name not in self.env), *trust.variables(secrets)),
        )


def shell(text: str) -> tuple[str, ...]:
    """The arguments that run shell text."""
    return ("/bin/sh", "-c", text)


def with_extra(arguments: Sequence[str], extra: str, last: Sequence[str] = ()) -> tuple[str, ...]:
    """A command line with the user's shell text in it; without such text no shell is involved."""
    if not extra:
        return (*arguments, *last)
    words = (shlex.join(arguments), extra, shlex.join(last))
    return shell(" ".join(filter(None, words)))


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

"""The options of `uv pip install` that a layer may be given: which of them decide versions, and which say where from.

Options that change how or where to packages are installed, and text that a shell must read first, keep a layer from
being locked.
"""

from __future__ import annotations

import re
import shlex

from msgspec import Struct
from msgspec.structs import replace

from flytebuild.spec.layers import PipOptions

_SHELL = re.compile(r"[$`&|;<>*?~(){}\n]")
"""What means something to a shell beyond words and quotes."""

_LONG = {"-i": "--index-url", "-f": "--find-links", "-U": "--upgrade", "-P": "--upgrade-package"}
_WHERE = ("--find-links", "--index-strategy", "--default-index", "--index")
_WHICH = ("--prerelease", "--resolution", "--exclude-newer", "--upgrade-package")
_WHICH_FLAGS = ("--pre", "--upgrade", "--no-deps")
_IRRELEVANT = ("--quiet", "-q", "--verbose", "-v", "--no-cache", "-n", "--no-progress", "--compile-bytecode")
"""Options that move no version and no file."""


class NotLockableError(Exception):
    """Raised for a layer whose versions cannot be decided here; the text says why, as half a sentence."""


class Arguments(Struct, frozen=True):
    """What a layer tells uv: its indexes, further options that say `where` packages are, and those that say `which`."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    which: tuple[str, ...] = ()

    def installing(self, options: PipOptions) -> PipOptions:
        """What of a layer's options installing its pins needs: where wheels are, and the secrets for that."""
        return PipOptions(
            self.index_url, self.extra_index_urls, extra_args=shlex.join(self.where), secrets=options.secrets
        )


def read(options: PipOptions) -> Arguments:
    """The options of one layer. Raises NotLockableError."""
    if any(secret.target for secret in options.secrets):
        raise NotLockableError("it is given a secret as a file, which is there only while the image is built")
    arguments = Arguments(options.index_url, options.extra_index_urls, which=("--pre",) if options.pre else ())
    arguments = with_words(arguments, split(options.extra_args))
    for url in (arguments.index_url, *arguments.extra_index_urls, *arguments.where[1::2]):
        if url.startswith("file:"):
            raise NotLockableError(f"`{url}` is a folder in the image")
    return arguments


def split(extra_args: str) -> list[str]:
    """The words of a layer's own text. Raises NotLockableError where only a shell knows them."""
    if found := _SHELL.search(extra_args):
        raise NotLockableError(f"`{found[0]}` in its `extra_args` means something to a shell")
    try:
        return shlex.split(extra_args)
    except ValueError:
        raise NotLockableError("its `extra_args` cannot be understood") from None


def with_words(arguments: Arguments, words: list[str]) -> Arguments:
    """The same with further options, word by word. Raises NotLockableError for one that is not known."""
    waiting = list(words)
    while waiting:
        written, equals, value = waiting.pop(0).partition("=")
        name = _LONG.get(written, written)
        if name in _IRRELEVANT:
            continue
        if name in _WHICH_FLAGS:
            arguments = replace(arguments, which=(*arguments.which, *(() if name in arguments.which else (name,))))
            continue
        if name not in (*_WHERE, *_WHICH, "--index-url", "--extra-index-url"):
            raise NotLockableError(f"what `{written}` does is known only while the image is built")
        if not equals:
            if not waiting:
                raise NotLockableError(f"`{written}` has no value")
            value = waiting.pop(0)
        arguments = _with_option(arguments, name, value)
    return arguments


def _with_option(arguments: Arguments, name: str, value: str) -> Arguments:
    if name == "--index-url":
        return replace(arguments, index_url=value)
    if name == "--extra-index-url":
        return replace(arguments, extra_index_urls=(*arguments.extra_index_urls, value))
    if name == "--find-links" and not value.startswith(("https://", "http://")):
        raise NotLockableError(f"`{value}` is a folder in the image")
    if name in _WHERE:
        return replace(arguments, where=(*arguments.where, name, value))
    return replace(arguments, which=(*arguments.which, name, value))

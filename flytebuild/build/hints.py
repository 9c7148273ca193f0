"""What to do about a step that failed, by what it wrote: the causes that are met again and again.

A hint is a guess by words that programs use. It stands below what really happened, which is always shown, and where no
word is known nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from flytebuild.spec.images import Platform


class Cause(Struct, frozen=True):
    """Words that only this cause has, and what helps; the words are looked for in the log and in BuildKit's message.

    The hint may name groups of the words, and the `platform` and `architecture` that is built for.
    """

    words: re.Pattern[str]
    hint: str


def _cause(words: str, hint: str) -> Cause:
    return Cause(re.compile(words, re.IGNORECASE), hint)


_KILLED = 137
"""The exit code of what was killed by SIGKILL, as the kernel does where memory runs out."""

_CAUSES = (
    _cause(
        r"exec format error",
        "a program is not for the processor that runs it; where `{platform}` is not the engine's own platform, "
        "`docker run --privileged --rm tonistiigi/binfmt --install {architecture}` lets the engine run it",
    ),
    _cause(
        r"no space left on device|disk quota exceeded",
        "the builder's disk is full; `docker builder prune` and `docker image prune` make room",
    ),
    _cause(
        r"certificate verify failed|invalid peer certificate|self.signed certificate|unable to get local issuer",
        "the network has a certificate of its own; set `ca_bundle` (or `SSL_CERT_FILE`) to what is to be trusted",
    ),
    _cause(
        r"x509: ",
        "the builder does not trust a certificate; give it to the builder's own host; wheels can also be fetched by "
        "steps, with the bundle of `ca_bundle`: `--no-wheel-layers`",
    ),
    _cause(
        r'"https?://(?:[^/"@]*@)?(?P<host>[^/"]+)/(?:[^"]*/)?(?P<wheel>[^/"]+\.whl)[^/"]*": ',
        "the builder fetches `{wheel}` from where the lock says, and `{host}` gives it no answer; see whether the "
        "builder's own host reaches it, or have `flytebuild lock --update NAME` look where the wheel is by now",
    ),
    _cause(
        r"invalid response status",
        "the builder fetches the wheels of the lock by itself, and an index refuses one; `--no-wheel-layers` has steps "
        "fetch them, with the index settings of this host",
    ),
    _cause(
        r"temporary failure (in name resolution|resolving)|could not resolve host|dns error|failed to lookup address|"
        r"name or service not known",
        "the builder's steps find no name server; look at the engine's network and its proxy settings",
    ),
    _cause(
        r"unable to locate package|has no installation candidate",
        "the base's Debian has no such package; its name may differ from one release to another",
    ),
    _cause(
        r"git executable not found|git: (command )?not found",
        'the image has no git; `.with_apt_packages("git")` before this layer brings it',
    ),
    _cause(
        r"command '?\S*(gcc|cc|g\+\+|clang)'? failed: no such file|unable to execute '?\S*(gcc|cc)|"
        r"linker `cc` not found|no acceptable c compiler",
        "a package is compiled and the image has no compiler; "
        '`.with_apt_packages("build-essential")` before this layer brings one',
    ),
    _cause(
        r"an index( url)? \(\S+\) (could not be queried|returned a 40[13])",
        "the index wants other credentials: put them into the URL that this host's `UV_INDEX_URL` has, or "
        "`https://USER:${{TOKEN}}@HOST/…` into `index_url` and the secret `TOKEN` into `secret_mounts`",
    ),
    _cause(
        r"there is no version of |because only \S+ (is|are) available and you require",
        "no index that is asked has such a version; the lines above say of which package",
    ),
    _cause(
        r"was not found in the package registry|no matching distribution found",
        "no index that is asked has the package; look at its name, or name its index with `index_url` or "
        "`extra_index_urls`",
    ),
    _cause(
        # source/http of BuildKit names what it got first.
        r"digest mismatch (?P<found>sha256:[0-9a-f]{12})[0-9a-f]{52}: (?P<locked>sha256:[0-9a-f]{12})[0-9a-f]{52}",
        "the index has another file than the one that was locked: it gives {found}…, and the lock has {locked}…; find "
        "out why before `flytebuild lock --update NAME` takes another",
    ),
    _cause(
        r"hash mismatch for",
        "the index has another file than the one that was locked, or none any more; find out why before "
        "`flytebuild lock --update NAME` takes another",
    ),
    _cause(
        r"no solution found when resolving|resolutionimpossible",
        "these requirements exclude each other; the lines above say which",
    ),
    _cause(
        r"unsupported frontend capability",
        "the frontend that the `# syntax=` line names cannot be told which images to use, so they would not be those "
        "of the plan; Docker's can from `docker/dockerfile:1.4` on",
    ),
    _cause(
        r"429 too many requests|toomanyrequests", "the registry wants fewer requests; log in, or set up a mirror of it"
    ),
    _cause(
        r"could not fetch content descriptor",
        "a registry lacks a layer of an image that it lists; push that image again, or start from another one",
    ),
    _cause(
        r"request to \S+: 404 not found",
        "the registry has no such repository; some take images only where it was made beforehand",
    ),
    _cause(
        r"request to \S+: 50\d |answers with status 50\d",
        "the registry has a problem of its own; its log says more, and the same command goes on from what is there",
    ),
    _cause(
        r"401 unauthorized|authentication required|no basic auth credentials",
        "log in with `docker login`; flytebuild takes credentials from where that leaves them",
    ),
    _cause(
        r"403 forbidden|denied: requested access|insufficient_scope",
        "the credentials that were found may not do this; log in with `docker login` as somebody who may",
    ),
)


def hint(message: str, log: Sequence[str], exit_code: int | None, platform: Platform) -> str:
    """What to do, or nothing where it is not known. Later lines of a log count first: they are nearer to the end."""
    for line in (*reversed(log), message):
        for cause in _CAUSES:
            if found := cause.words.search(line):
                return cause.hint.format(platform=platform, architecture=platform.architecture, **found.groupdict())
    if exit_code == _KILLED:
        return "the step was killed, most likely since memory ran out; give the engine more, or lower `--jobs`"
    return ""

"""URLs that hold credentials: what an image is made of is written into it, and into what is told of it."""

from __future__ import annotations

import re
from pathlib import Path

from flytebuild.authoring.site import Site

_VARIABLE = r"\$\{\w+\}"
_KNOWN_USER = "(?:git|aws|oauth2|oauth2accesstoken|x-access-token|VssSessionToken|__token__)"
# Texts, compiled when one is looked for: most images have no URL in them.
_CREDENTIALS = (
    rf"(?<!ssh)://(?!(?:{_VARIABLE}(?::(?:x-oauth-basic|{_VARIABLE})?)?|[\w.~%+-]*:{_VARIABLE}|{_KNOWN_USER})@)"
    r"[^/\s@?#\"'<>]+@"
    rf"|ssh://[^/\s@:]*:(?!{_VARIABLE}@)[^/\s@]+@"
    # A password with a slash in it, which is no port.
    r"|://[^/\s@:?#\"'<>\[]*:(?!(?:\d+|\$\w+|\$\{\w+\})(?:[/?#\s\"']|$))[^\s@?#\"'<>]*/[^\s@\"'<>]*@"
)
CREDENTIALS_HINT = (
    "set `UV_INDEX_URL` with the credentials in the environment that builds, or write `${NAME}` in the URL and pass "
    "the secret with `secret_mounts`; neither enters a layer"
)


CONDA_CHANNEL = r"://[^\s\"'<>]+/t/[\w-]+/"
CONDA_HINT = (
    "leave them out, and give pixi a secret file: `secret_mounts` with a `mount`, and `RATTLER_AUTH_FILE` in the "
    "environment to name it"
)


_DOCKERFILE_HINT = (
    "set `UV_INDEX_URL` with the credentials in the environment that builds, and let the step read it from "
    "`/run/secrets/UV_INDEX_URL`, with `RUN --mount=type=secret,id=UV_INDEX_URL`"
)


def find(text: str) -> re.Match[str] | None:
    """The first URL with a password in it, or with a user that may be a token.

    `${NAME}` is none, nor is a user whose password is one, nor the names that package indexes give to users with a
    token; the user of an ssh URL is no secret.
    """
    # Few texts have a URL at all, and that is seen many times faster.
    return re.search(_CREDENTIALS, text) if "://" in text else None


def refuse(text: str, file: Path, site: Site) -> None:
    """Raise UnsupportedImageError for the text of a file that has such a URL, naming the line and not the URL."""
    _refuse(find(text), file, site, CREDENTIALS_HINT)


def refuse_conda(text: str, file: Path, site: Site) -> None:
    """The same for a file of pixi's, where a channel's token may be in the path: `/t/TOKEN/`."""
    _refuse(find(text) or re.search(CONDA_CHANNEL, text), file, site, CONDA_HINT)


def refuse_dockerfile(text: str, file: Path, site: Site) -> None:
    """The same for a Dockerfile, whose steps may ask for what this session has."""
    _refuse(find(text), file, site, _DOCKERFILE_HINT)


def _refuse(leak: re.Match[str] | None, file: Path, site: Site, hint: str) -> None:
    if leak:
        number = leak.string.count("\n", 0, leak.start()) + 1
        raise site.error(f"line {number} of `{file}` has a URL with credentials", hint=hint)

"""What layers of several kinds may be given: options of uv, secrets, text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import flyte
from flyte._image import PipOption

from flytebuild.authoring import credentials
from flytebuild.authoring.credentials import CREDENTIALS_HINT
from flytebuild.authoring.site import Site
from flytebuild.spec import layers as spec


def pip_options(layer: PipOption, site: Site) -> spec.PipOptions:
    """What a layer that installs with uv is given."""
    urls = (given,) if isinstance(given := layer.extra_index_urls, str) else tuple(given or ())
    for url in (layer.index_url or "", *urls):
        checked_text(url, site)
    return spec.PipOptions(
        index_url=layer.index_url or "",
        extra_index_urls=urls,
        pre=bool(layer.pre),
        extra_args=checked_text(layer.extra_args, site),
        secrets=layer_secrets(layer.secret_mounts, site),
    )


def layer_secrets(secrets: Iterable[str | flyte.Secret] | None, site: Site) -> tuple[spec.Secret, ...]:
    """Secrets by what they do to a step: `"KEY"` and `Secret(key="KEY")` are the same."""
    if not secrets:
        return ()
    found = []
    for item in secrets:
        secret = _named(item, site) if isinstance(item, str) else item
        group, target = secret.group or "", str(secret.mount) if secret.mount else ""
        if target and not target.startswith("/"):
            raise site.error(
                f"the secret `{secret.key}` is mounted at `{target}`, which is not an absolute path",
                hint="start the path with `/`",
            )
        if target:
            found.append(spec.Secret(group, secret.key, target=target))
        if secret.as_env_var or not target:
            name = secret.as_env_var or "_".join(filter(None, (group, secret.key)))
            found.append(spec.Secret(group, secret.key, env=name))
    _refuse_shared(found, site)
    return tuple(sorted(set(found)))


def _named(key: str, site: Site) -> flyte.Secret:
    try:
        return flyte.Secret(key=key)
    except ValueError as error:
        raise site.error(
            f"the secret `{key}` can be no variable of a step ({error})",
            hint="name it with letters, digits and `_`, or give `Secret(key=…, as_env_var=…)`",
        ) from error


def _refuse_shared(secrets: Sequence[spec.Secret], site: Site) -> None:
    """Refuse two secrets in one place, of which the step would see one."""
    known: dict[str, spec.Secret] = {}
    for secret in secrets:
        first = known.setdefault(secret.target or secret.env, secret)
        if first != secret:
            where = f"mounted at `{secret.target}`" if secret.target else f"given as `{secret.env}`"
            raise site.error(
                f"two secrets, `{first.key}` and `{secret.key}`, are {where}, where only one can be",
                hint="give each a place of its own: a `mount`, or an `as_env_var`",
            )


def checked_text(text: str | None, site: Site) -> str:
    """Text of a command line. Raises UnsupportedImageError for credentials in it, and for null characters."""
    refuse_null(text or "", site)
    if text and credentials.find(text):
        raise site.error("a URL holds credentials, which would end up in the image's history", hint=CREDENTIALS_HINT)
    return text or ""


def refuse_null(text: str, site: Site) -> None:
    """Raise UnsupportedImageError for text that no process can be given."""
    if "\0" in text:
        raise site.error("a text has a null character, which no process can be given", hint="leave it out")

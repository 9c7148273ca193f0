"""Where credentials for a registry come from; what they are is told by nobody."""

from __future__ import annotations

from flytebuild.doctor.check import Check, ok, warning
from flytebuild.registry.credentials import api_host, look_up
from flytebuild.registry.reference import Reference


def examine_credentials(target: Reference) -> Check:
    """Whether there are any for a repository, and from which program or file. Blocks."""
    found = look_up(api_host(target.registry), target.repository)
    if found.credentials:
        what = "a user and a password" if found.credentials.username else "an identity token"
        return ok("credentials", f"{what} for `{target.registry}`, from `{found.source}`")
    if found.problem:
        message = f"There are none for `{target.registry}`: {found.problem}"
        return warning("credentials", message, f"mend that, or `docker login {target.registry}` once more")
    return ok("credentials", f"none for `{target.registry}`: requests are anonymous")

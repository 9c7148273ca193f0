"""What a registry of images of ours refuses, as the error that tells what to do."""

from __future__ import annotations

import httpx

from flytebuild.errors import RegistryUnavailableError
from flytebuild.plan.unknown import CHECK_REGISTRY
from flytebuild.registry.client import Refused
from flytebuild.registry.reference import Reference

DENIALS = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
"""The answers that are about who asks."""


def unavailable(what: str, place: Reference, refusal: Refused) -> RegistryUnavailableError:
    """The error for a request that was refused, or not answered; `what` is the sentence that the reason ends."""
    return RegistryUnavailableError(f"{what}: {refusal}", hint=_remedy(place, refusal))


def login(place: Reference, what: str) -> str:
    """The hint for who may not do `what`."""
    return (
        f"`docker login {place.registry}` as somebody who may {what}; flytebuild takes credentials from where "
        "that leaves them"
    )


def _remedy(place: Reference, refusal: Refused) -> str | None:
    if refusal.status is None:
        return CHECK_REGISTRY
    return login(place, "do that") if refusal.status in DENIALS else None

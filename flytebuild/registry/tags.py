"""The tags of a repository: all of them with what they lead to, and forgetting what a digest names.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md, "Content Discovery" and "Content Management".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from http import HTTPStatus
from typing import TypeVar

import httpx

from flytebuild.events import Emit, Looked, ignore
from flytebuild.facts import Present, Unknown
from flytebuild.registry.client import Refused, RegistryClient
from flytebuild.registry.reference import Reference

_PAGE = 1000
Answer = TypeVar("Answer")


async def list_tags(client: RegistryClient, repository: Reference) -> tuple[str, ...]:
    """All tags of a repository; nothing where there is none. Raises Refused."""
    found: list[str] = []
    path = f"tags/list?n={_PAGE}"
    while path:
        response = await client.request("GET", repository, path)
        if response.status_code == HTTPStatus.NOT_FOUND:
            break
        found += response.json().get("tags") or ()
        path = _next(response)
    return tuple(dict.fromkeys(found))


async def digests_of(
    client: RegistryClient, repository: Reference, tags: tuple[str, ...], emit: Emit = ignore
) -> dict[str, str]:
    """What each tag leads to; tags that are gone meanwhile are left out. Raises Refused where one cannot be told."""
    asked = [client.presence(repository.tagged(tag)) for tag in tags]
    facts = await counted(f"tags of `{repository.name}`", asked, emit)
    found = {}
    for tag, fact in zip(tags, facts, strict=True):
        match fact:
            case Present(digest=digest):
                found[tag] = digest
            case Unknown(reason=reason):
                raise Refused(reason)
    return found


async def counted(what: str, questions: Sequence[Awaitable[Answer]], emit: Emit) -> list[Answer]:
    """The answers to many questions, in their order; each that comes is told as one more of `what`."""
    answered = 0

    async def ask(question: Awaitable[Answer]) -> Answer:
        nonlocal answered
        answer = await question
        answered += 1
        emit(Looked(what, answered, len(questions)))
        return answer

    return await asyncio.gather(*map(ask, questions))


async def delete_manifest(client: RegistryClient, repository: Reference, digest: str) -> None:
    """Have a registry forget a manifest, and every tag that leads to it. Raises Refused; what is gone is no trouble."""
    await client.request("DELETE", repository, f"manifests/{digest}", action="delete")


def _next(response: httpx.Response) -> str:
    """The address of the next page (RFC 8288), or nothing."""
    following = response.links.get("next", {}).get("url", "")
    return following if following.startswith(("/", "http")) or not following else f"/{following}"

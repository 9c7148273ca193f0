"""Images put into a registry over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.machine.push import Repository

pytestmark = pytest.mark.engine

TAR = b"\0" * 1024


@pytest.fixture
def repository(registry_prefix: str) -> Repository:
    host, _, path = registry_prefix.partition("/")
    return Repository(int(host.rpartition(":")[2]), path)


def push(repository: Repository, *architectures: str) -> None:
    layer = repository.push_layer(iter([TAR[:512], TAR[512:]]))
    configs: list[dict[str, Any]] = [{"architecture": name, "os": "linux"} for name in architectures]
    repository.push("1", [repository.push_image([layer], config) for config in configs])


def test_an_image_can_be_asked_for_when_it_is_pushed(repository: Repository) -> None:
    assert repository.architectures("1") == frozenset()
    for _ in range(2):
        push(repository, "riscv64")
    assert repository.architectures("1") == {"riscv64"}


def test_several_images_are_one_index(repository: Repository) -> None:
    push(repository, "amd64", "arm64")
    assert repository.architectures("1") == {"amd64", "arm64"}


def test_a_layer_is_taken_from_another_repository(repository: Repository) -> None:
    other = Repository(repository.port, f"{repository.name}/other")
    layer = repository.push_layer(iter([TAR]))
    other.take_layer(layer, repository)
    other.push("1", [other.push_image([layer], {"architecture": "amd64", "os": "linux"})])
    assert other.architectures("1") == {"amd64"}

"""What is made of a registry's answers, of which a real one gives only the good ones."""

from __future__ import annotations

import asyncio
import email.utils
import re
import time
from collections.abc import Callable, Mapping

import httpx
import pytest

from flytebuild.config import Config
from flytebuild.doctor.check import Check
from flytebuild.doctor.registry import examine_registry
from flytebuild.registry.client import MANIFEST_TYPES

Handler = Callable[[httpx.Request], httpx.Response]
UPLOAD = "/v2/team/flyte/blobs/uploads/1"
BLOB = "sha256:" + "b" * 64


@pytest.fixture(autouse=True)
def without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


def refusal(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"errors": [{"code": code, "message": "no"}]})


class Registry:
    """A registry as it should be; `answers` are what it says instead, by `METHOD path` patterns."""

    def __init__(self, answers: Mapping[str, Handler] | None = None) -> None:
        self.answers = dict(answers or {})
        self.requests: list[str] = []
        self.open: set[str] = set()
        self.kept: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = f"{request.method} {request.url.path}"
        self.requests.append(asked)
        for pattern, answer in self.answers.items():
            if re.fullmatch(pattern, asked):
                return answer(request)
        query = dict(request.url.params)
        match request.method, request.url.path:
            case "GET", "/v2/":
                return httpx.Response(200, headers={"Date": email.utils.formatdate(usegmt=True)})
            case "POST", "/v2/team/flyte/blobs/uploads/" if query.get("mount") == BLOB:
                return httpx.Response(201)
            case "POST", "/v2/team/flyte/blobs/uploads/":
                self.open.add(UPLOAD)
                return httpx.Response(202, headers={"Location": UPLOAD})
            case "DELETE", path:
                self.open.discard(path)
                self.kept.discard(path)
                return httpx.Response(204)
            case "GET", "/v2/team/flyte/tags/list":
                return httpx.Response(200, json={"tags": ["b3-1"]})
            case "GET", "/v2/team/flyte/manifests/b3-1":
                manifest = {"mediaType": MANIFEST_TYPES[0], "config": {"digest": BLOB, "size": 2}, "layers": []}
                return httpx.Response(200, json=manifest, headers={"Content-Type": MANIFEST_TYPES[0]})
            case "PUT", _:
                return refusal(400, "MANIFEST_BLOB_UNKNOWN")
            case "GET", path if "/referrers/" in path:
                return httpx.Response(200, json={"schemaVersion": 2, "manifests": []})
        raise AssertionError(asked)


def examine(registry: Handler, name: str | None = "registry.example/team") -> dict[str, Check]:
    config = Config(registry=name, sources={"registry": "FLYTEBUILD_REGISTRY"})
    checks = asyncio.run(examine_registry(config, httpx.MockTransport(registry)))
    assert len({item.subject for item in checks}) == len(checks)
    return {item.subject: item for item in checks}


def test_one_that_is_as_it_should_be() -> None:
    registry = Registry()
    checks = examine(registry)
    assert {item.status for item in checks.values()} == {"ok"}
    assert list(checks) == [
        "registry",
        "credentials",
        "push",
        "mounts",
        "oci types",
        "referrers",
        "registry's clock",
    ]
    assert registry.open == set()
    assert "offered" in checks["referrers"].message


def test_none_is_configured() -> None:
    assert examine(Registry(), None)["registry"].message == "none is configured: images stay in the engine's store"
    config = Config(builder="unix:///b")
    (check,) = asyncio.run(examine_registry(config))
    assert (check.status, check.exit_code) == ("failed", 64)


def test_one_that_does_not_answer_is_asked_nothing_more() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    checks = examine(refuse)
    assert list(checks) == ["registry", "credentials"]
    assert (checks["registry"].status, checks["registry"].exit_code) == ("failed", 69)
    assert "does not answer (Connection refused)" in checks["registry"].message
    assert "`FLYTEBUILD_REGISTRY`" in checks["registry"].hint


def test_what_answers_is_no_registry() -> None:
    checks = examine(lambda _: httpx.Response(404))
    assert checks["registry"].message == "What answers at `registry.example` is no registry (status 404)"


def test_who_may_not_push_is_told_how_to_log_in() -> None:
    registry = Registry({"POST .*": lambda _: refusal(403, "DENIED")})
    checks = examine(registry)
    assert (checks["push"].status, checks["push"].exit_code) == ("failed", 69)
    assert checks["push"].hint.startswith("`docker login registry.example`")
    assert "oci types" not in checks
    assert not any(asked.startswith("PUT") for asked in registry.requests)


def test_one_that_mounts_nothing_opens_an_upload_instead() -> None:
    registry = Registry()
    registry.answers["POST .*"] = lambda _: (
        registry.open.add(UPLOAD) or httpx.Response(202, headers={"Location": UPLOAD})
    )
    check = examine(registry)["mounts"]
    assert check.status == "warning"
    assert registry.open == set()


def test_an_empty_repository_has_nothing_to_mount() -> None:
    for answer in (httpx.Response(404), httpx.Response(200, json={"tags": None})):
        registry = Registry({"GET .*/tags/list": lambda _, answer=answer: answer})  # type: ignore[misc]
        assert examine(registry)["mounts"].status == "unknown"


def test_one_that_does_not_know_oci_s_types() -> None:
    for answer in (refusal(400, "MANIFEST_INVALID"), httpx.Response(415)):
        registry = Registry({"PUT .*": lambda _, answer=answer: answer})  # type: ignore[misc]
        check = examine(registry)["oci types"]
        assert (check.status, check.exit_code) == ("failed", 69)
        assert "compression" in check.hint
    assert examine(Registry({"PUT .*": lambda _: httpx.Response(500)}))["oci types"].status == "unknown"


def test_one_that_takes_a_manifest_of_nothing_has_it_no_longer() -> None:
    registry = Registry()

    def take(request: httpx.Request) -> httpx.Response:
        registry.kept.add(request.url.path)
        return httpx.Response(201)

    registry.answers["PUT .*"] = take
    assert examine(registry)["oci types"].status == "ok"
    assert registry.kept == set()
    # Or it is told, with what to remove.
    registry.answers["DELETE .*/manifests/.*"] = lambda _: refusal(405, "UNSUPPORTED")
    check = examine(registry)["oci types"]
    assert check.status == "warning"
    assert "registry.example/team/flyte@sha256:" in check.hint


def test_referrers_and_clock() -> None:
    late = email.utils.formatdate(time.time() - 100, usegmt=True)
    registry = Registry(
        {
            "GET .*/referrers/.*": lambda _: httpx.Response(404),
            "GET /v2/": lambda _: httpx.Response(200, headers={"Date": late}),
        }
    )
    checks = examine(registry)
    assert checks["referrers"].message == "not offered; no build needs it"
    assert checks["registry's clock"].status == "warning"

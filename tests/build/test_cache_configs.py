"""Several cache manifests as one: what BuildKit would have written for all of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from flytebuild.build.cache.configs import CONFIG_TYPE, united
from flytebuild.build.cache.union import unite
from flytebuild.registry.client import MANIFEST_TYPES, Refused, RegistryClient
from flytebuild.registry.content import Blob, Manifest
from flytebuild.registry.reference import Reference, parse

WHEN = "2026-01-01T00:00:00Z"
TARGET = parse("registry.example/cache:all")


def made(name: str) -> dict[str, Any]:
    """A layer `name` that was made from a tool, as BuildKit writes it: records by their digests."""
    return {
        "layers": [{"blob": name, "parent": -1}],
        "records": [
            {"digest": f"diff {name}", "inputs": [[{"link": 2}], [{"link": 1}]], "layers": [_result(0)]},
            {"digest": f"install {name}", "inputs": [[{"link": 2, "selector": "x"}]]},
            {"digest": "venv", "inputs": [[{"link": 3}]]},
            {"digest": "tool"},
        ],
    }


def _result(layer: int) -> dict[str, Any]:
    return {"layer": layer, "createdAt": WHEN}


def test_equal_records_are_one_and_numbers_lead_where_they_led() -> None:
    whole = united([made("a"), made("b"), made("a")])
    assert [layer["blob"] for layer in whole["layers"]] == ["a", "b"]
    digests = [record["digest"] for record in whole["records"]]
    assert sorted(digests) == ["diff a", "diff b", "install a", "install b", "tool", "venv"]
    for name, layer in (("a", 0), ("b", 1)):
        record = whole["records"][digests.index(f"diff {name}")]
        assert record["layers"] == [_result(layer)]
        below = [whole["records"][choices[0]["link"]]["digest"] for choices in record["inputs"]]
        assert below == ["venv", f"install {name}"]


def test_layers_on_each_other_and_chains_of_them() -> None:
    config = {
        "layers": [{"blob": "top", "parent": 1}, {"blob": "bottom", "parent": -1}, {"blob": "on the first"}],
        "records": [{"digest": "one", "layers": [_result(2)], "chains": [{"layers": [1, 0], "createdAt": WHEN}]}],
    }
    other = {"layers": [{"blob": "bottom", "parent": -1}], "records": [{"digest": "one", "layers": [_result(0)]}]}
    whole = united([config, other])
    assert whole["layers"] == [
        {"blob": "bottom", "parent": -1},
        {"blob": "top", "parent": 0},
        {"blob": "on the first", "parent": 1},
    ]
    (record,) = whole["records"]
    assert record["layers"] == [_result(2), _result(0)]
    assert record["chains"] == [{"layers": [0, 1], "createdAt": WHEN}]


def test_nothing_is_made_of_nothing() -> None:
    assert united([{}]) == {"layers": [], "records": []}


def manifest(config: bytes, *layers: str) -> Manifest:
    blob = Blob.of(config)
    return Manifest.of(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPES[0],
            "config": {"mediaType": CONFIG_TYPE, "digest": blob.digest, "size": blob.size},
            "layers": [{"mediaType": "layer", "digest": layer, "size": 1} for layer in layers],
        }
    )


def put(*configs: bytes) -> tuple[Reference, dict[str, bytes]]:
    """What a union of manifests with these configs comes to, and what was sent to the registry."""
    held = {Blob.of(config).digest: config for config in configs}
    manifests = {f"v-{number}": manifest(config, f"sha256:{number}") for number, config in enumerate(configs)}
    sent: dict[str, bytes] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        *_, kind, name = request.url.path.split("/")
        if request.method == "POST":
            return httpx.Response(202, headers={"location": "/v2/cache/blobs/uploads/1"})
        if request.method == "PUT":
            sent[kind if kind == "uploads" else name] = request.content
            return httpx.Response(201)
        if kind == "manifests":
            found = manifests[name]
            return httpx.Response(200, content=found.content, headers={"content-type": found.media_type})
        return httpx.Response(200, content=held[name]) if name in held else httpx.Response(404)

    async def act() -> Reference:
        async with RegistryClient(httpx.MockTransport(answer)) as client:
            return await unite(client, [TARGET.tagged(tag) for tag in manifests], TARGET)

    return asyncio.run(act()), sent


def test_a_union_is_a_manifest_of_all_layers_under_one_tag() -> None:
    first, second = (json.dumps(made(name)).encode() for name in "ab")
    reference, sent = put(first, second)
    assert json.loads(sent["uploads"]) == united([made("a"), made("b")])
    assert Manifest(sent["all"], MANIFEST_TYPES[0]).digest == reference.digest
    document = json.loads(sent["all"])
    assert document["config"]["digest"] == Blob.of(sent["uploads"]).digest
    assert [layer["digest"] for layer in document["layers"]] == ["sha256:0", "sha256:1"]


def test_one_manifest_is_its_own_union() -> None:
    config = json.dumps(made("a")).encode()
    reference, sent = put(config)
    assert sent == {"all": manifest(config, "sha256:0").content}
    assert reference.digest == manifest(config, "sha256:0").digest


@pytest.mark.parametrize(
    "config",
    [b"[]", b"no", b'{"records":[{"digest":"a","inputs":[[{"link":0}]]}]}', b'{"layers":3}', b'{"records":["a"]}'],
)
def test_what_is_no_cache_is_refused(config: bytes) -> None:
    with pytest.raises(Refused, match="has a cache manifest that is none"):
        put(b"{}", config)

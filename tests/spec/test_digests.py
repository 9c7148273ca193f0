"""What moves an image's digest, and what must not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from flytebuild.spec.digests import digests
from flytebuild.spec.model import EMITTERS, ImageSpec, PipPackages, ResolvedImage, RuntimeConfig
from flytebuild.spec.specify import specify
from tests.samples import AMD64, BASE, UV, definition, spec


def pip(**fields: object) -> ImageSpec:
    return specify(definition(PipPackages(**{"requirements": ("a", "b"), **fields})), AMD64, BASE, UV)  # type: ignore[arg-type]


def test_golden_image() -> None:
    found = digests(spec("ruff", "pytest"))
    assert found.image == "13e2418a4473c98d482fbd4e3ced83bafe0c59f69a42c0a715fb76a8046ebc0c"
    assert found.tag == "b3-" + found.image[:32]


def test_layers_are_a_chain_and_equal_prefixes_are_equal() -> None:
    one, other = digests(spec("ruff", "pytest")), digests(spec("ruff"))
    assert one.layers[:3] == other.layers
    assert one.layers[3] not in digests(spec("pytest")).layers


@pytest.mark.parametrize(
    "changed",
    [
        pip(requirements=("b", "a")),
        pip(requirements=("ab",)),
        pip(index_url="https://x/simple"),
        pip(extra_index_urls=("https://x/simple",)),
        pip(pre=True),
        pip(extra_args="--no-deps"),
        specify(replace(definition(PipPackages(("a", "b"))), python="3.13"), AMD64, BASE, UV),
        specify(definition(PipPackages(("a",)), PipPackages(("b",))), AMD64, BASE, UV),
        specify(definition(PipPackages(("a", "b"))), AMD64, replace(BASE, digest="sha256:" + "3" * 64), UV),
        specify(definition(PipPackages(("a", "b"))), AMD64, BASE, replace(UV, digest="sha256:" + "3" * 64)),
        specify(definition(PipPackages(("a", "b"))), AMD64, replace(BASE, config=replace(BASE.config, user="app")), UV),
        specify(
            definition(PipPackages(("a", "b"))),
            AMD64,
            replace(BASE, config=replace(BASE.config, env=(("A", "1"),))),
            UV,
        ),
        specify(
            definition(PipPackages(("a", "b"))), AMD64, replace(BASE, config=replace(BASE.config, other='{"x":1}')), UV
        ),
        specify(definition(PipPackages(("a", "b"))), AMD64, ResolvedImage(BASE.reference, "", problem="?"), UV),
    ],
)
def test_what_reaches_the_image_moves_its_digest(changed: ImageSpec) -> None:
    assert digests(changed).image != digests(pip()).image


@pytest.mark.parametrize(
    "change",
    [
        lambda item: replace(item, name="other"),
        lambda item: replace(item, registry="registry.example/team"),
        lambda item: replace(item, base=replace(BASE, location="elsewhere.example/x:1")),
        lambda item: replace(item, base=replace(BASE, reference="other/name:1")),
    ],
)
def test_names_and_places_do_not(change: Callable[[ImageSpec], ImageSpec]) -> None:
    assert digests(change(pip())).image == digests(pip()).image


def test_the_version_of_the_translation_is_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests(pip())
    monkeypatch.setitem(EMITTERS, "pip", 2)
    after = digests(pip())
    assert after.layers[:2] == before.layers[:2]
    assert after.layers[2] != before.layers[2]


def test_every_config_field_is_in_the_config_digest() -> None:
    empty = RuntimeConfig()
    changed = {
        "env": (("A", "1"),),
        "user": "app",
        "workdir": "/srv",
        "entrypoint": ("/e",),
        "cmd": ("c",),
        "labels": (("l", "1"),),
        "other": "{}",
    }
    assert set(changed) == set(RuntimeConfig.__dataclass_fields__)
    documents = [replace(empty, **{name: value}).document() for name, value in changed.items()]  # type: ignore[arg-type]
    assert empty.document() not in documents
    assert all(documents.count(document) == 1 for document in documents)

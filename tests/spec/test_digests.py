"""What moves an image's digest, and what must not."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from flytebuild.spec.digests import digests, index_digest
from flytebuild.spec.images import ResolvedImage, RuntimeConfig
from flytebuild.spec.layers import EMITTERS
from flytebuild.spec.model import ImageSpec, RunAs, SetEnv, SetLabels, SetWorkDir
from tests.samples import AMD64, ARM64, BASE, UV, made_of, pip, spec


def test_layers_are_a_chain_and_equal_prefixes_are_equal() -> None:
    one, other = digests(spec("ruff", "pytest")), digests(spec("ruff"))
    assert one.layers[:3] == other.layers
    assert one.layers[3] not in digests(spec("pytest")).layers
    assert one.tag == "b3-" + one.image[:32]


MOVED = ResolvedImage(BASE.reference, BASE.location, "sha256:" + "3" * 64, BASE.config)


@pytest.mark.parametrize(
    "changed",
    [
        made_of(pip("b", "a")),
        made_of(pip("ab")),
        made_of(pip("a", "b", index_url="https://x/simple")),
        made_of(pip("a", "b", extra_index_urls=("https://x/simple",))),
        made_of(pip("a", "b", pre=True)),
        made_of(pip("a", "b", extra_args="--no-deps")),
        made_of(pip("a", "b"), python="3.13"),
        made_of(pip("a"), pip("b")),
        made_of(pip("a", "b"), platform=ARM64),
        made_of(pip("a", "b"), base=MOVED),
        made_of(pip("a", "b"), uv=replace(UV, digest="sha256:" + "3" * 64)),
        made_of(pip("a", "b"), base=replace(BASE, config=replace(BASE.config, user="app"))),
        made_of(pip("a", "b"), base=replace(BASE, config=replace(BASE.config, env=(("A", "1"),)))),
        made_of(pip("a", "b"), base=replace(BASE, config=replace(BASE.config, other='{"x":1}'))),
        made_of(pip("a", "b"), base=ResolvedImage(BASE.reference, "", problem="?")),
        made_of(SetEnv((("A", "1"),)), pip("a", "b")),
        made_of(pip("a", "b"), SetEnv((("A", "1"),))),
        made_of(SetWorkDir("/srv"), pip("a", "b")),
        made_of(pip("a", "b"), SetLabels((("a", "1"),))),
        made_of(pip("a", "b"), RunAs("app")),
    ],
)
def test_what_reaches_the_image_moves_its_digest(changed: ImageSpec) -> None:
    assert digests(changed).image != digests(made_of(pip("a", "b"))).image


@pytest.mark.parametrize(
    "change",
    [
        lambda item: replace(item, name="other"),
        lambda item: replace(item, registry="registry.example/team"),
        lambda item: replace(item, base=replace(BASE, location="elsewhere.example/x:1")),
        lambda item: replace(item, base=replace(BASE, reference="other/name:1")),
        lambda item: replace(item, roots={"x": None}),
        lambda item: replace(item, steps=tuple(replace(step, origin="elsewhere.py:1") for step in item.steps)),
    ],
)
def test_names_and_places_do_not(change: Callable[[ImageSpec], ImageSpec]) -> None:
    item = made_of(pip("a", "b"))
    assert digests(change(item)).image == digests(item).image


def test_a_setting_after_a_step_leaves_the_step_s_digest_alone() -> None:
    before, after = made_of(SetEnv((("A", "1"),)), pip("a")), made_of(pip("a"), SetEnv((("A", "1"),)))
    assert digests(made_of(pip("a"))).layers == digests(after).layers
    assert digests(before).layers != digests(after).layers


def test_the_order_in_which_variables_were_set_is_not_seen() -> None:
    one = made_of(SetEnv((("A", "1"), ("B", "2"))), pip("a"))
    assert digests(one) == digests(made_of(SetEnv((("B", "2"), ("A", "1"))), pip("a")))
    assert digests(one) == digests(made_of(SetEnv((("B", "3"),)), SetEnv((("A", "1"), ("B", "2"))), pip("a")))


def test_an_index_is_what_its_images_are() -> None:
    images = {AMD64: "a" * 64, ARM64: "b" * 64}
    assert index_digest(images) == index_digest(dict(reversed(images.items())))
    assert index_digest(images) != index_digest({AMD64: "b" * 64, ARM64: "a" * 64})
    assert index_digest(images) != index_digest({AMD64: "a" * 64})


def test_the_version_of_the_translation_is_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests(made_of(pip("a")))
    monkeypatch.setitem(EMITTERS, "pip", EMITTERS["pip"] + 1)
    after = digests(made_of(pip("a")))
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
        "shell": ("/bin/bash", "-c"),
        "other": "{}",
    }
    assert set(changed) == set(RuntimeConfig.__struct_fields__)
    documents = [replace(empty, **{name: value}).document() for name, value in changed.items()]  # type: ignore[arg-type]
    assert empty.document() not in documents
    assert all(documents.count(document) == 1 for document in documents)

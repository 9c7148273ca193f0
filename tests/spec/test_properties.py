"""What holds for all images: different meanings have different bytes, and a change moves what is above it only."""

import rfc8785
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flytebuild.spec.canonical import encode
from flytebuild.spec.digests import digests
from flytebuild.spec.images import RuntimeConfig
from flytebuild.spec.layers import EMITTERS, LayerSpec, Secret
from flytebuild.spec.model import ImageSpec, Part
from flytebuild.spec.specify import Specifier
from flytebuild.spec.step import Step
from tests.samples import AMD64, definition, images, made_of
from tests.spec import independent
from tests.spec.strategies import BY_KIND, KINDS, LAYERS, MAYBE, PAIRS, PARTS, TEXT
from tests.spec.test_independent import described

BOUNDED = settings(max_examples=200)
CONTEXTS = st.builds(RuntimeConfig, PAIRS, MAYBE, TEXT, labels=PAIRS)


def test_layers_of_every_kind_are_drawn() -> None:
    assert set(EMITTERS) == KINDS


@BOUNDED
@given(LAYERS, LAYERS)
def test_two_layers_share_their_bytes_only_if_they_are_equal(one: LayerSpec, other: LayerSpec) -> None:
    documents = [encode(Step(layer, RuntimeConfig()).document("")) for layer in (one, other)]
    assert (documents[0] == documents[1]) == (one == other)


@BOUNDED
@given(st.sampled_from(sorted(KINDS)).flatmap(lambda kind: st.tuples(BY_KIND[kind], BY_KIND[kind])), st.data())
def test_every_field_of_a_layer_is_in_its_bytes(pair: tuple[LayerSpec, LayerSpec], data: st.DataObject) -> None:
    """Two layers of one kind that differ in one field at most."""
    layer, other = pair
    name = data.draw(st.sampled_from([name for name in layer.__struct_fields__ if name != "origin"]))
    mixed = replace(layer, **{name: getattr(other, name)})
    # A command has either; the pair may have had one each.
    assume(not (getattr(mixed, "args", ()) and getattr(mixed, "shell", "")))
    documents = [encode(Step(item, RuntimeConfig()).document("")) for item in (layer, mixed)]
    assert (documents[0] == documents[1]) == (layer == mixed)


@BOUNDED
@given(st.lists(PARTS, max_size=4))
def test_the_second_implementation_agrees(parts: list[Part]) -> None:
    vector = described(made_of(*parts))
    assert independent.image(vector) == vector["digests"]


@BOUNDED
@given(st.lists(PARTS, max_size=3), st.lists(PARTS, max_size=3))
def test_two_images_share_a_digest_only_if_they_are_equal(one: list[Part], other: list[Part]) -> None:
    specs = [made_of(*one), made_of(*other)]
    found = [digests(spec) for spec in specs]
    assert (found[0].image == found[1].image) == (meaning(specs[0]) == meaning(specs[1]))


@BOUNDED
@given(st.lists(PARTS, min_size=1, max_size=4), PARTS, st.data())
def test_a_change_moves_its_layer_and_those_above(parts: list[Part], part: Part, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(parts) - 1))
    before, after = made_of(*parts), made_of(*parts[:position], part, *parts[position + 1 :])
    old, new = digests(before).layers, digests(after).layers
    same = 0
    for step, other in zip(meaning(before)[0], meaning(after)[0], strict=False):
        if step != other:
            break
        same += 1
    assert old[:same] == new[:same]
    assert not set(old[same:]) & set(new[same:])


@BOUNDED
@given(st.lists(PARTS, max_size=3))
def test_bytes_are_those_of_rfc_8785(parts: list[Part]) -> None:
    for step in made_of(*parts).steps:
        document = step.document("")
        assert encode(document) == rfc8785.dumps(document)  # type: ignore[arg-type]


@BOUNDED
@given(LAYERS, CONTEXTS, st.sampled_from(["", "0" * 64, "f" * 64]))
def test_the_bytes_around_a_parent_are_those_of_the_whole_document(
    layer: LayerSpec, context: RuntimeConfig, parent: str
) -> None:
    """They are put together from parts, and kept."""
    step = Step(layer, context)
    for _ in range(2):
        before, after = step.around_parent
        assert before + parent.encode() + after == rfc8785.dumps(step.document(parent))  # type: ignore[arg-type]


@BOUNDED
@given(st.lists(st.lists(PARTS, max_size=3), max_size=4))
def test_images_are_the_same_whatever_else_is_in_their_plan(images_of_plan: list[list[Part]]) -> None:
    specifier = Specifier(AMD64, images())
    for parts in images_of_plan:
        together, alone = specifier.specify(definition(*parts)), made_of(*parts)
        assert together == alone
        assert [step.origin for step in together.steps] == [step.origin for step in alone.steps]
        assert digests(together) == digests(alone)


@given(st.permutations([Secret("g", "a", "A"), Secret("", "b", "B"), Secret("", "c", "", "/c")]))
def test_the_order_of_secrets_is_not_seen(secrets: list[Secret]) -> None:
    from flytebuild.spec.layers import AptPackages

    layers = [AptPackages(("a",), tuple(found)) for found in (secrets, [*secrets, secrets[0]], sorted(secrets))]
    assert len({encode(layer.fields()) for layer in layers}) == 1


def meaning(spec: ImageSpec) -> tuple[list[tuple[object, ...]], RuntimeConfig]:
    """What an image is by its values, seen as the digest should see them; not by their encoding."""
    seen = []
    for step in spec.steps:
        context = replace(step.context, labels=(), entrypoint=(), cmd=(), other="")
        is_executed = step.layer.kind not in ("uv", "pixi", "copy", "folder")
        seen.append((step.layer, context if is_executed else None))
    return seen, spec.config

"""What a build of a plan takes: never less than its longest chain, never more than all of it one after the other."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flytebuild.cli.plan_text import render
from flytebuild.facts import Absent
from flytebuild.plan import LayerPlan, Observation, Plan, make_plan
from flytebuild.plan.document import to_document
from flytebuild.plan.durations import critical_path, layer_seconds, longest, makespan, seconds_anew
from flytebuild.plan.experience import NOTHING
from flytebuild.plan.forecast import forecast
from flytebuild.plan.places import references
from flytebuild.spec.layers import Pin, Pinned, WheelLayer
from flytebuild.spec.model import ImageSpec, SetWorkDir
from tests.samples import AMD64, BASE, UV, Seen, made_of, pip, put_on_top
from tests.test_plan import NODES, SPECS, plan, present, target, variants

Chains = list[tuple[str, ...]]


@st.composite
def trees(draw: st.DrawFn) -> tuple[Chains, dict[str, float]]:
    """Images as paths from the root of a tree: a layer is always on top of the same ones."""
    parents = draw(st.lists(st.integers(0, 30), min_size=1, max_size=30))
    paths: dict[int, tuple[str, ...]] = {0: ("l0",)}
    for number, parent in enumerate(parents, 1):
        paths[number] = (*paths[parent % number], f"l{number}")
    chosen = draw(st.lists(st.sampled_from(sorted(paths)), min_size=1, max_size=8))
    seconds = {f"l{number}": float(draw(st.integers(0, 100))) for number in paths}
    return [paths[number] for number in chosen], seconds


def steps(chains: Chains) -> list[list[LayerPlan]]:
    return [[LayerPlan("pip", link, link, "missing", "") for link in chain] for chain in chains]


def total(chains: Chains, seconds: Mapping[str, float]) -> float:
    return sum(seconds[link] for link in {link for chain in chains for link in chain})


@given(trees(), st.integers(1, 64))
def test_between_the_longest_chain_and_the_sum(found: tuple[Chains, dict[str, float]], jobs: int) -> None:
    chains, seconds = found
    critical = sum(seconds[link] for link in longest(steps(chains), seconds))
    assert critical == max(sum(seconds[link] for link in chain) for chain in chains)
    assert critical <= makespan(chains, seconds, jobs) <= total(chains, seconds)


@given(trees())
def test_one_after_the_other_is_the_sum_and_all_at_once_the_longest(found: tuple[Chains, dict[str, float]]) -> None:
    chains, seconds = found
    assert makespan(chains, seconds, 1) == total(chains, seconds)
    assert makespan(chains, seconds, len(chains)) == sum(seconds[link] for link in longest(steps(chains), seconds))


def test_nothing_takes_no_time() -> None:
    assert makespan([], {}, 3) == 0.0
    assert longest([], {}) == longest(steps([("a",)]), {"a": None}) == ()


TOOK = Seen({"pip: pytest": 8.0, "pip: ruff": 3.0})


def sized(size: int | None = 54_000_000) -> Plan:
    """Three images of which one is there; their base has a size."""
    planned = plan({target(SPECS["fold"]): present(SPECS["fold"])})
    images = []
    for image in planned.images:
        assert image.spec is not None
        assert image.spec.base is not None
        images.append(replace(image, spec=replace(image.spec, base=replace(image.spec.base, size=size))))
    return replace(planned, images=tuple(images))


def test_only_what_is_made_counts_and_a_base_is_fetched_once() -> None:
    planned = sized()
    known = forecast(planned, TOOK, 1)
    assert [image.seconds for image in known.images] == [8.0, 8.0]
    assert (known.seconds, known.critical_seconds, known.untimed) == (16.0, 8.0, 0)
    assert [image.download for image in known.images] == [54_000_000, 54_000_000]
    assert (known.download, known.send) == (54_000_000, 0)
    assert forecast(planned, TOOK, 2).seconds == 8.0
    shown = render(planned, known).plain
    assert shown.endswith(
        "3 images, 2 to build\nabout 16 s; the longest is msa with 8 s; up to 54.0 MB to download, nothing to send"
    )
    assert "on the critical path" not in shown
    verbose = render(planned, known, verbose=True).plain
    assert verbose.count("8.0 s, on the critical path") == 1
    assert verbose.count("about 8 s; up to 54.0 MB to download") == 2


def test_what_was_never_timed_is_said_and_not_guessed() -> None:
    known = forecast(sized(None), NOTHING, 4)
    assert (known.seconds, known.critical, known.untimed, known.download) == (0.0, (), 2, None)
    shown = render(sized(None), known).plain
    assert "time unknown: none of these layers was built here before; nothing to send" in shown
    half = forecast(plan({}), Seen({"pip: pytest": 8.0}), 1)
    assert half.untimed == 3
    told = "at least 16 s, and 3 layers never built here before; the longest is msa with 8 s"
    assert told in render(plan({}), half).plain
    nearly = forecast(plan({}), Seen({"pip: pytest": 0.1}), 1)
    assert "time unknown: 3 layers never built here before; nothing to send" in render(plan({}), nearly).plain


def test_wheel_layers_that_were_made_before_take_nothing() -> None:
    one, other = (
        WheelLayer((Pin(name, "1", f"{name}.whl", "1" * 64, size=size),), UV, "3.11", AMD64, "/opt/venv")
        for name, size in (("a", 100), ("b", 20))
    )
    specs = {
        "fold": made_of(Pinned(one.pins, "layers", layers=(one,))),
        "msa": made_of(Pinned((*one.pins, *other.pins), "layers", layers=(one, other))),
        "main": made_of(pip("ruff")),
    }
    nowhere = {target(spec): Observation(Absent()) for spec in specs.values()}
    planned = make_plan(NODES, variants(specs), None, nowhere)
    times = {"wheel: a 1 (Python 3.11)": 9.0, "wheel: a 1 (Python 3.12)": 1.0, "pip: a==1": 7.0, "pip: ruff": 3.0}
    took = Seen(times)

    def last(plan: Plan, took: Seen = took) -> list[float | None]:
        seconds = layer_seconds(plan, took)
        return [seconds(image.layers[-1]) for image in plan.images]

    # One by another uv has the same name; it is to be made nevertheless.
    assert last(planned) == [9.0, None, 3.0]
    assert last(replace(planned, made=frozenset((one.key,)))) == [0.0, None, 3.0]
    assert last(replace(planned, made=frozenset((other.key,)))) == [9.0, 9.0, 3.0]

    # They are made side by side: an image waits for the slowest of them, and one worker makes all.
    both = Seen(times | {"wheel: b 1 (Python 3.11)": 4.0})
    assert last(planned, both) == [9.0, 9.0, 3.0]
    assert [forecast(planned, both, jobs).seconds for jobs in (1, 2)] == [16.0, 12.0]
    assert forecast(planned, both, 1).critical_seconds == 9.0
    # And where everything is made anew, those as well that are there.
    everything = replace(planned, made=frozenset((one.key, other.key)))
    assert last(everything, both) == [0.0, 0.0, 3.0]
    anew = seconds_anew(everything, both)
    assert [anew(image.layers[-1]) for image in everything.images] == [9.0, 9.0, 3.0]
    assert critical_path(everything, both)[-1] == everything.images[0].layers[-1].digest


def test_wheels_are_fetched_for_layers_that_are_to_be_made() -> None:
    known = [WheelLayer((Pin(name, "1", f"{name}.whl", "1" * 64, size=100),), UV, "3.11", AMD64, "/v") for name in "ab"]
    specs = dict.fromkeys(("fold", "msa", "main"), made_of(Pinned((), "layers", layers=tuple(known))))
    planned = make_plan(NODES, variants(specs), None, {target(specs["main"]): Observation(Absent())})
    base = replace(BASE, size=1000)
    images = [replace(image, spec=replace(image.spec, base=base)) for image in planned.images if image.spec]
    planned = replace(planned, images=tuple(images))
    assert forecast(planned, TOOK, 1).download == 1200
    assert forecast(replace(planned, made=frozenset((known[0].key,))), TOOK, 1).download == 1100


def test_a_base_that_nobody_looks_into_stays_where_it_is() -> None:
    def download(spec: ImageSpec, registry: str | None) -> int | None:
        names = ("fold", "msa", "main")
        (reference,) = references({AMD64: spec}, registry)
        planned = make_plan(NODES, variants(dict.fromkeys(names, spec)), registry, {reference: Observation(Absent())})
        return forecast(planned, TOOK, 1).download

    base = replace(BASE, size=1000)
    beside, _, _ = base.location.partition("/")
    assert download(put_on_top(made_of(base=base)), f"{beside}/ours") == 0
    assert download(put_on_top(made_of(base=base)), "other.example/ours") == 1000
    assert download(put_on_top(made_of(base=base)), None) == 1000
    assert download(put_on_top(made_of(SetWorkDir("/srv"), base=base)), f"{beside}/ours") == 1000
    assert download(made_of(base=base), f"{beside}/ours") == 1000


def test_its_document() -> None:
    planned = sized()
    document = to_document(planned, forecast(planned, TOOK, 4))
    assert document["forecast"]["seconds"] == 8.0
    assert [image["is_critical"] for image in document["forecast"]["images"]] == [True, False]
    base = planned.images[0].layers[0].digest
    assert document["shared"][0] == {"layer": base, "images": [image.reference for image in planned.images]}
    assert to_document(planned)["forecast"] is None


def test_the_critical_path_of_everything_is_there_when_nothing_is_to_be_built() -> None:
    planned = plan({target(spec): present(spec) for spec in SPECS.values()})
    main = planned.images[-1]
    assert critical_path(planned, TOOK) == tuple(layer.digest for layer in main.layers[1:])


def in_registry(*there: str) -> Plan:
    """The sample's images for a registry of their own, some of them there, on a base of 54 MB from elsewhere."""
    base, uv = replace(BASE, size=54_000_000), replace(UV, size=16_000_000)
    packages = {"fold": ("ruff",), "msa": ("ruff", "pytest"), "main": ("ruff", "torch")}
    specs = {name: made_of(*map(pip, found), base=base, uv=uv, name=name) for name, found in packages.items()}
    place = "reg.example/team"
    facts = {
        target(spec, place): present(spec) if name in there else Observation(Absent()) for name, spec in specs.items()
    }
    return make_plan(NODES, variants(specs), place, facts)


def test_a_registry_is_given_what_it_was_never_seen_to_have() -> None:
    planned = in_registry()
    seen = Seen(sizes={"pip: ruff": 10, "pip: pytest": 5, "pip: torch": 900, **_venv(planned)})
    known = forecast(planned, seen, 1)
    # Of each repository its own uv and virtual environment, and the base once for the registry.
    assert [image.push for image in known.images] == [54_000_000 + 16_000_000 + 7 + size for size in (10, 15, 910)]
    assert (known.push, known.unmeasured) == (54_000_000 + 3 * 16_000_007 + 3 * 10 + 5 + 900, 0)
    assert "about 102.0 MB to push" in render(planned, known).plain
    document = to_document(planned, known)["forecast"]
    assert (document["push"], document["unmeasured"]) == (known.push, 0)


def test_what_a_registry_has_is_mounted_and_not_pushed() -> None:
    planned = in_registry("fold")
    known = forecast(planned, Seen(sizes={"pip: pytest": 5}), 1)
    assert [(image.push, image.unmeasured) for image in known.images] == [(5, 0), (0, 1)]
    shown = render(planned, known, verbose=True).plain
    assert "at least 5 B to push (1 layer never pushed before)" in shown
    assert "an unknown amount to push (1 layer never pushed before)" in shown


def test_what_others_may_have_put_into_a_cache_is_pushed_at_most() -> None:
    sizes = {"pip: ruff": 10, "pip: pytest": 5, "pip: torch": 900, **_venv(in_registry())}
    known = forecast(in_registry(), Seen(sizes=sizes, has_cache=True), 1)
    assert "up to 102.0 MB to push" in render(in_registry(), known).plain
    planned = in_registry("fold")
    shown = render(planned, forecast(planned, Seen(sizes={"pip: pytest": 5}, has_cache=True), 1), verbose=True).plain
    assert "up to 5 B to push (besides 1 layer never pushed before)" in shown


def test_what_the_cache_of_a_registry_has_takes_nothing() -> None:
    planned = in_registry()
    (main,) = (image for image in planned.images if image.environments == ("main",))
    cached = [("reg.example", layer.digest) for layer in main.layers[:-1]]
    known = forecast(planned, Seen({"pip: ruff": 30.0, "pip: torch": 9.0}, {"pip: torch": 900}, cached), 1)
    own = known.of(main.reference)
    assert own
    assert (own.seconds, own.push, own.unmeasured) == (9.0, 900, 0)


def test_an_engine_is_given_nothing() -> None:
    known = forecast(sized(), NOTHING, 1)
    assert (known.push, known.unmeasured) == (0, 0)
    assert "to push" not in render(sized(), known).plain


def _venv(planned: Plan) -> dict[str, int]:
    return {layer.summary: 7 for image in planned.images for layer in image.layers if layer.kind == "venv"}

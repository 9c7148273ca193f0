"""The environments of a run and the layers of their images, drawn as a plan is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

from flytebuild.drawing.html import html
from flytebuild.errors import DependencyCycleError
from flytebuild.graph import closure
from flytebuild.plan import EnvironmentPlan, ImagePlan, LayerPlan, Plan
from flytebuild.plan.experience import NOTHING
from flytebuild.runtime.model import Action, Run
from flytebuild.spec.canonical import digest
from flytebuild.spec.composition import Composition, decode
from flytebuild.spec.images import OUR_LABELS
from flytebuild.why import layer_name

Labels = Callable[[str], Awaitable[Mapping[str, str] | None]]
"""The labels of an image that an attempt ran, by the image's name or digest; None where the engine has none of it."""


_REMEMBERED = 256
"""So many images' labels are held."""


async def no_labels(_image: str) -> None:
    """What is known of images where no engine is asked."""


def remembered(labels: Labels) -> Labels:
    """The same labels, but those of a digest are asked for once: they never change."""
    known: dict[str, Mapping[str, str]] = {}

    async def ask(image: str) -> Mapping[str, str] | None:
        if image in known:
            return known[image]
        found = await labels(image)
        if found is not None and image.startswith("sha256:"):
            known[image] = found
            while len(known) > _REMEMBERED:
                known.pop(next(iter(known)))
        return found

    return ask


async def images_of(actions: Iterable[Action], labels: Labels) -> dict[str, ImagePlan]:
    """What the images of actions are made of, by their references, those that ran last."""
    used = {action.last.image: action.last.image_id for action in actions if action.last and action.last.image_id}
    return {reference: image_plan(reference, (), await labels(found)) for reference, found in used.items()}


async def environments_page(run: Run, actions: Iterable[Action], labels: Labels, back: str) -> str:
    """The page of a run's environments; `back` is the path of the run's own."""
    actions = tuple(actions)
    used = _used(actions)
    depends_on = _acyclic(used, _calls(actions))
    images = dict[str, list[str]]()
    for environment, (reference, _) in used.items():
        images.setdefault(reference, []).append(environment)
    seen = {reference: await labels(identifier or reference) for reference, identifier in dict.fromkeys(used.values())}
    plan = Plan(
        tuple(
            EnvironmentPlan(name, None, used[name][0], tuple(depends_on[name]), ())
            for name in closure(depends_on, depends_on)
        ),
        tuple(image_plan(reference, tuple(names), seen.get(reference)) for reference, names in images.items()),
    )
    return html(plan, f"The environments of {run.name}", NOTHING, back=(back, run.name))


def _used(actions: Iterable[Action]) -> dict[str, tuple[str, str]]:
    """The image of each environment that ran something: its reference, and the digest that the engine ran."""
    found = {}
    for action in actions:
        if action.environment and action.last:
            found[action.environment] = (action.last.image, action.last.image_id or "")
    return found


def _calls(actions: Iterable[Action]) -> Iterator[tuple[str, str]]:
    """Which environment called which."""
    actions = tuple(actions)
    environments = {action.key.name: action.environment for action in actions}
    for action in actions:
        caller = environments.get(action.parent or "")
        if caller and action.environment and caller != action.environment:
            yield caller, action.environment


def _acyclic(names: Iterable[str], calls: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The calls as edges, without those that lead back: two environments may call each other."""
    edges: dict[str, list[str]] = {name: [] for name in names}
    for caller, callee in calls:
        if caller in edges and callee in edges and callee not in edges[caller]:
            edges[caller].append(callee)
            try:
                closure(edges, [caller])
            except DependencyCycleError:
                edges[caller].remove(callee)
    return edges


def image_plan(reference: str, environments: tuple[str, ...], labels: Mapping[str, str] | None) -> ImagePlan:
    """An image as a plan has it, by the labels that its build left."""
    if labels is None:
        return ImagePlan(reference, "unknown", "the engine does not have it any more", environments)
    made_of = decode(labels.get(f"{OUR_LABELS}spec", ""))
    if made_of is None:
        return ImagePlan(reference, "external", "used as it is", environments)
    identity = labels.get(f"{OUR_LABELS}image") or None
    return ImagePlan(reference, "present", "", environments, identity, tuple(_layers(made_of)))


def _layers(made_of: Composition) -> Iterator[LayerPlan]:
    base = str(made_of.base.get("image") or "nothing")
    yield LayerPlan("base", digest("base", made_of.base), f"base {base[:19]}", "present", "")
    for layer, identity in zip(made_of.layers, made_of.digests, strict=True):
        yield LayerPlan(str(layer["kind"]), identity, layer_name(layer), "present", "")

"""A plan as text: environments, what is to be done for them, and why.

`+` is to be built, `?` unknown, `>` to be named from another image, `=` there, `~` external. Of wheel layers, `=` were
made before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from flytebuild.amounts import duration, size
from flytebuild.plan import ImagePlan, LayerPlan, Plan

if TYPE_CHECKING:
    from flytebuild.build.preview import Preview
    from flytebuild.plan.forecast import Forecast, ImageForecast

_SIGNS = {"present": ("=", "green"), "missing": ("+", "yellow"), "unknown": ("?", "magenta"), "external": ("~", "blue")}

_TOLD = 0.5
"""Seconds below which a time rounds to none, and says nothing."""

_NAMED = 3
"""So many names are told of a list; how many others there are is counted."""


def render(plan: Plan, forecast: Forecast | None = None, *, verbose: bool = False) -> Text:
    """Every environment in a line, and all that is to be done, without a line end after the last line.

    When `verbose`, what is there as well, and what each image and layer will take.
    """
    parts = (
        _environments(plan, verbose=verbose),
        _images(plan, forecast, verbose=verbose),
        _wheel_layers(plan, verbose=verbose),
    )
    lines = [line for part in map(tuple, parts) if part for line in (*part, Text())]
    lines.append(Text(summary(plan), "bold"))
    if forecast and forecast.images:
        lines.append(Text(prospects(plan, forecast)))
    return Text("\n").join(lines)


def prospects(plan: Plan, forecast: Forecast) -> str:
    """What building all of it takes, in one line."""
    names = {image.reference: ", ".join(image.environments) for image in plan.images}
    critical = next((names[image.reference] for image in forecast.images if image.is_critical), "")
    parts = [_time(forecast.seconds, forecast.untimed, len(forecast.layers))]
    if critical and len(forecast.images) > 1 and forecast.critical_seconds >= _TOLD:
        parts.append(f"the longest is {critical} with {duration(forecast.critical_seconds)}")
    return "; ".join((*parts, _bytes(forecast)))


def _time(seconds: float, untimed: int, layers: int) -> str:
    """An expected time, honest about what it leaves out."""
    if untimed == layers:
        return "time unknown: none of these layers was built here before" if layers else "no layer to make"
    told = duration(seconds)
    count = "1 layer" if untimed == 1 else f"{untimed} layers"
    if untimed and seconds < _TOLD:
        return f"time unknown: {count} never built here before"
    return f"at least {told}, and {count} never built here before" if untimed else f"about {told}"


def _bytes(known: Forecast | ImageForecast) -> str:
    """What is moved, as far as it is known."""
    fetched = f"up to {size(known.download)}" if known.download else "nothing"
    told = [] if known.download is None else [f"{fetched} to download"]
    told.append(f"{size(known.send) if known.send else 'nothing'} to send")
    return ", ".join((*told, *_pushed(known)))


def _pushed(known: Forecast | ImageForecast) -> Iterable[str]:
    """What registries are given, honest about what it leaves out; nothing where no registry is given anything."""
    count = "1 layer" if known.unmeasured == 1 else f"{known.unmeasured} layers"
    if known.unmeasured and not known.push:
        yield f"an unknown amount to push ({count} never pushed before)"
    elif known.unmeasured and known.is_limit:
        yield f"up to {size(known.push)} to push (besides {count} never pushed before)"
    elif known.unmeasured:
        yield f"at least {size(known.push)} to push ({count} never pushed before)"
    elif known.push:
        yield f"{'up to' if known.is_limit else 'about'} {size(known.push)} to push"


def summary(plan: Plan) -> str:
    """One line: how many images, how many of them to build."""
    count = len(plan.images)
    if not count:
        return "No environments, nothing to build"
    images = "1 image" if count == 1 else f"{count} images"
    counts = ((len(plan.to_build), "build"), (len(plan.to_copy), "re-tag"))
    todo = [f"{number} to {what}" for number, what in counts if number]
    return ", ".join((images, *(todo or ["nothing to build"])))


def render_solves(solves: Sequence[Preview]) -> Text:
    """What a build would ask of BuildKit: a solve per image, and the operations of each."""
    users = Counter(operation.digest for solve in solves for operation in solve.operations)
    lines = [Text("Solves", "bold")]
    for solve in solves:
        names = ", ".join(solve.image.environments)
        lines.append(Text.assemble("  ", (solve.image.short, "bold"), f"  {names}"))
        lines.append(Text(f"      {solve.image.reference}", "dim"))
        for operation in solve.operations:
            line = Text(f"      {operation.digest.removeprefix('sha256:')[:8]}  {operation.name}")
            if users[operation.digest] > 1:
                line.append("  (shared)", "dim")
            lines.append(line)
        if not solve.operations:
            why = solve.image.reason if solve.image.status == "unknown" else "by the Dockerfile's own frontend"
            lines.append(Text(f"      {why}"))
    return Text("\n").join(lines)


def _environments(plan: Plan, *, verbose: bool) -> Iterable[Text]:
    if not plan.environments:
        return
    images = {image.reference: image for image in plan.images}
    list_of = ", ".join if verbose else _some
    yield Text("Environments", "bold")
    width = max(len(item.name) for item in plan.environments)
    for item in plan.environments:
        image = images[item.image]
        line = Text.assemble("  ", _sign(image), " ", (item.name.ljust(width), "bold"), f"  {image.short}")
        if image.status == "external":
            line.append(" (external)")
        if item.tasks:
            line.append("  tasks " + list_of([name.partition(".")[2] or name for name in item.tasks]))
        if item.depends_on:
            line.append("  depends on " + list_of(item.depends_on), "dim")
        yield line


def _images(plan: Plan, forecast: Forecast | None, *, verbose: bool) -> Iterable[Text]:
    told = plan.images if verbose else plan.to_do
    if not told:
        return
    users: dict[str, list[str]] = {}
    for image in plan.images:
        for layer in image.layers:
            users.setdefault(layer.digest, []).extend(image.environments)
    new = new_wheels(plan)
    yield Text("Images" if verbose else "To do", "bold")
    for image in told:
        yield from _image(image, users, new, forecast, verbose=verbose)


def _sign(image: ImagePlan) -> tuple[str, str]:
    """What becomes of an image, as a sign and its style."""
    return (">", "cyan") if image.copied_from else _SIGNS[image.status]


def verdict(image: ImagePlan) -> tuple[str, str, str]:
    """An image's sign, what becomes of it, and why, or nothing."""
    why, (sign, _) = image.reason, _sign(image)
    if image.changes:
        # Loaded here: most plans find everything built.
        from flytebuild.why import headline

        why = headline(image.changes) or why
    if image.copied_from:
        return sign, f"to re-tag from {image.copied_from}", why
    words = {"present": "present", "missing": "to build", "unknown": "unknown", "external": "external"}
    return sign, words[image.status], why


def _image(
    image: ImagePlan,
    users: Mapping[str, list[str]],
    new: Collection[str],
    forecast: Forecast | None,
    *,
    verbose: bool,
) -> Iterable[Text]:
    (sign, what, why), (_, style) = verdict(image), _sign(image)
    names = ", ".join(image.environments) if verbose else _some(image.environments)
    because = f": {why}" if why else ""
    yield Text.assemble("  ", (sign, style), " ", (image.short, "bold"), f"  {names}  ", (f"{what}{because}", style))
    if image.digest:
        yield Text(f"      {image.reference}", "dim")
    for platform, member in image.members:
        yield Text(f"      {platform}  {member}", "dim")
    if verbose and forecast and (own := forecast.of(image.reference)):
        yield Text(f"      {_time(own.seconds, own.untimed, len(own.layers))}; {_bytes(own)}", "dim")
    if not verbose and image.copied_from:
        return
    there = sum(layer.status == "present" for layer in image.layers)
    if there and not verbose:
        yield Text.assemble("      ", _SIGNS["present"], f" {_are_there(there, 'layer')}")
    for layer in image.layers if verbose else image.layers[there:]:
        others = [name for name in users[layer.digest] if name not in image.environments]
        # The image's own reason is told once, above.
        takes = _takes(layer, forecast) if verbose and forecast else ""
        reason = "" if layer.reason == image.reason else layer.reason
        yield _layer(layer, others, [reason, recipe(layer, new), takes])


def _takes(layer: LayerPlan, forecast: Forecast) -> str:
    """How long a layer took the last time, and whether the whole waits for it; nothing for one that is not made."""
    if layer.digest not in forecast.layers:
        return ""
    seconds = forecast.layers[layer.digest]
    told = "never built here before" if seconds is None else f"{seconds:.1f} s"
    return f"{told}, on the critical path" if layer.digest in forecast.critical else told


def _wheel_layers(plan: Plan, *, verbose: bool) -> Iterable[Text]:
    told = [layer for layer in plan.wheel_layers if verbose or layer.status == "missing"]
    if not told:
        return
    names = {image.reference: image.environments for image in plan.images}
    yield Text("Wheel layers", "bold")
    if there := len(plan.wheel_layers) - len(told):
        yield Text.assemble("  ", _SIGNS["present"], f" {_are_there(there, 'wheel layer')}")
    for layer in told:
        users = _some([name for reference in layer.images for name in names[reference]])
        large = "" if layer.size is None else f"  {size(layer.size)}"
        line = f" {layer.key[:8]}  {layer.summary}{large}"
        yield Text.assemble("  ", _SIGNS[layer.status], line, (f"  ({users})", "dim"))


def new_wheels(plan: Plan) -> frozenset[str]:
    """The keys of the wheel layers that are to be made."""
    return frozenset(layer.key for layer in plan.wheel_layers if layer.status == "missing")


def recipe(layer: LayerPlan, new: Collection[str]) -> str:
    """How packages whose wheels are locked get into an image, and how many layers are `new`; else nothing."""
    if layer.wheel_layers:
        count, fresh = len(layer.wheel_layers), sum(key in new for key in layer.wheel_layers)
        what = "wheel layer" if count == 1 else "wheel layers"
        if fresh == count:
            return f"{count} new {what}"
        return f"{count} {what}, {fresh} new" if fresh else f"{count} {what}"
    if layer.kind == "pinned" and layer.obstacle:
        return f"installed by a step, since {layer.obstacle}"
    return f"no wheel layers: {layer.obstacle}" if layer.obstacle else ""


def _layer(layer: LayerPlan, others: Sequence[str], notes: Sequence[str]) -> Text:
    sign, style = _SIGNS[layer.status]
    line = Text.assemble("      ", (sign, style), f" {layer.digest[:8]}  {layer.summary}")
    shared = f"shared with {_some(others)}" if others else ""
    told = "; ".join(filter(None, (*notes, shared)))
    return line.append(f"  ({told})", "dim") if told else line


def _are_there(count: int, what: str) -> str:
    """So many of something that nothing is to be done for."""
    return f"1 {what} is there" if count == 1 else f"{count} {what}s are there"


def _some(names: Sequence[str]) -> str:
    """Names in one line, however many there are: the first ones, and how many more."""
    rest = len(names) - _NAMED
    return ", ".join(names) if rest <= 1 else f"{', '.join(names[:_NAMED])} and {rest} others"

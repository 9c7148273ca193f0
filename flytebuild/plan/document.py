"""A plan as the versioned JSON that `--json` prints; see `docs/plan-json.md`."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from flytebuild.plan.model import ImagePlan, Plan

if TYPE_CHECKING:
    from flytebuild.plan.forecast import Forecast
    from flytebuild.why import Change

SCHEMA = "flytebuild.plan/1"


def to_document(plan: Plan, forecast: Forecast | None = None) -> dict[str, Any]:
    """The plan as JSON values, with what building it will take where that is given."""
    users: dict[str, list[str]] = {}
    for image in plan.images:
        for layer in image.layers:
            users.setdefault(layer.digest, []).append(image.reference)
    return {
        "schema": SCHEMA,
        "environments": [
            {
                "name": item.name,
                "file": item.file,
                "image": item.image,
                "depends_on": list(item.depends_on),
                "tasks": list(item.tasks),
            }
            for item in plan.environments
        ],
        "images": [
            {
                "digest": image.digest,
                "reference": image.reference,
                "status": image.status,
                "reason": image.reason,
                "copied_from": image.copied_from,
                "earlier": image.earlier.image if image.earlier else None,
                "changes": [_change(image, change) for change in image.changes],
                "platforms": [str(item) for item in image.platforms],
                "environments": list(image.environments),
                "layers": [
                    {
                        "kind": layer.kind,
                        "digest": layer.digest,
                        "summary": layer.summary,
                        "status": layer.status,
                        "reason": layer.reason,
                        "wheel_layers": list(layer.wheel_layers),
                        "obstacle": layer.obstacle or None,
                    }
                    for layer in image.layers
                ],
            }
            for image in plan.images
        ],
        "wheel_layers": [
            {
                "key": item.key,
                "summary": item.summary,
                "status": item.status,
                "bytes": item.size,
                "images": list(item.images),
            }
            for item in plan.wheel_layers
        ],
        "shared": [{"layer": layer, "images": images} for layer, images in users.items() if len(images) > 1],
        "to_build": [image.reference for image in plan.to_build],
        "to_copy": [image.reference for image in plan.to_copy],
        "forecast": _forecast(forecast) if forecast else None,
        "as_of": plan.as_of and datetime.fromtimestamp(plan.as_of, timezone.utc).isoformat(timespec="seconds"),
        "problems": [{"message": item.message, "hint": item.hint} for item in plan.problems],
    }


def _forecast(forecast: Forecast) -> dict[str, Any]:
    return {
        "jobs": forecast.jobs,
        "seconds": round(forecast.seconds, 3),
        "untimed": forecast.untimed,
        "critical": list(forecast.critical),
        "critical_seconds": round(forecast.critical_seconds, 3),
        "download": forecast.download,
        "send": forecast.send,
        "push": forecast.push,
        "unmeasured": forecast.unmeasured,
        "images": [
            {
                "reference": image.reference,
                "seconds": round(image.seconds, 3),
                "untimed": image.untimed,
                "is_critical": image.is_critical,
                "download": image.download,
                "send": image.send,
                "push": image.push,
                "unmeasured": image.unmeasured,
            }
            for image in forecast.images
        ],
        "layers": [{"digest": digest, "seconds": seconds} for digest, seconds in forecast.layers.items()],
    }


def _change(image: ImagePlan, change: Change) -> dict[str, Any]:
    """A change as JSON values, its layer by its digest."""
    steps = image.layers[-len(image.spec.steps) :] if image.spec and image.spec.steps else ()
    return {
        "layer": None if change.layer is None else steps[change.layer].digest,
        "field": change.what,
        "before": change.before,
        "after": change.after,
        "words": change.words,
        "origin": change.origin or None,
    }

"""The plan: what is needed, what is there, what must be built, and why. Pure.

`make_plan` compares specs with facts; `forecast` says what building it takes; `to_document` is the plan as
the versioned JSON that `--json` prints.
"""

from flytebuild.plan.document import to_document
from flytebuild.plan.durations import critical_path, layer_seconds, seconds_anew
from flytebuild.plan.experience import NOTHING, Experience
from flytebuild.plan.forecast import Forecast, ImageForecast, forecast
from flytebuild.plan.making import make_plan
from flytebuild.plan.model import (
    EnvironmentPlan,
    ImagePlan,
    LayerPlan,
    Observation,
    Plan,
    Status,
    Variants,
    WheelLayerPlan,
)
from flytebuild.plan.places import ENGINE_REGISTRY, is_in_engine, reference, references, registry_of

__all__ = [
    "ENGINE_REGISTRY",
    "NOTHING",
    "EnvironmentPlan",
    "Experience",
    "Forecast",
    "ImageForecast",
    "ImagePlan",
    "LayerPlan",
    "Observation",
    "Plan",
    "Status",
    "Variants",
    "WheelLayerPlan",
    "critical_path",
    "forecast",
    "is_in_engine",
    "layer_seconds",
    "make_plan",
    "reference",
    "references",
    "registry_of",
    "seconds_anew",
    "to_document",
]

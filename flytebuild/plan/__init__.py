"""The plan: what is needed, what is there, what must be built, and why. Pure.

`make_plan` compares specs with facts. Most plans find all there and need no more; for the others `plan.forecast` says
what building takes (`plan.experience`: as far as builds before tell), `plan.durations` what is on the critical path,
and `plan.document` has the plan as the versioned JSON that `--json` prints.
"""

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
    "EnvironmentPlan",
    "ImagePlan",
    "LayerPlan",
    "Observation",
    "Plan",
    "Status",
    "Variants",
    "WheelLayerPlan",
    "is_in_engine",
    "make_plan",
    "reference",
    "references",
    "registry_of",
]

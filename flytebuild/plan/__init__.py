"""The plan: what is needed, what is there, what must be built, and why. Pure.

`make_plan` compares specs with facts; `to_document` is the plan as the versioned JSON that `--json` prints.
"""

from flytebuild.plan.document import to_document
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
from flytebuild.plan.places import ENGINE_REGISTRY, is_in_engine, reference, references

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
    "to_document",
]

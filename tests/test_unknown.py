"""What could not be found out of a plan's images."""

from collections.abc import Sequence

import pytest

from flytebuild.errors import EngineUnavailableError, RegistryUnavailableError
from flytebuild.plan import ImagePlan, Plan
from flytebuild.plan.unknown import unmeasured

SILENT = "`r.example` does not answer"


def image(reference: str, reason: str = SILENT) -> ImagePlan:
    return ImagePlan(reference, "unknown", reason, (reference.partition("/")[2],))


@pytest.mark.parametrize(
    ("images", "unreachable", "kind", "message"),
    [
        (
            [image("r.example/a")],
            {"r.example/a"},
            RegistryUnavailableError,
            "The registry `r.example` does not answer, so it is not known how large the image of `a` is",
        ),
        (
            [image("r.example/a"), image("r.example/b"), image("s.example/c")],
            {"r.example/a", "r.example/b", "s.example/c"},
            RegistryUnavailableError,
            "The registries `r.example`, `s.example` do not answer, so it is not known how large the images of `a`, "
            "`b`, `c` are",
        ),
        (
            [image("r.example/a", "`r.example` answers with status 500")],
            set(),
            RegistryUnavailableError,
            "It is not known how large the image of `a` is: `r.example` answers with status 500",
        ),
        (
            [image("flytebuild.local/a", "the engine does not answer")],
            set(),
            EngineUnavailableError,
            "It is not known how large the image of `a` is: the engine does not answer",
        ),
    ],
)
def test_who_does_not_answer_is_told_with_what_to_do(
    images: Sequence[ImagePlan], unreachable: set[str], kind: type[Exception], message: str
) -> None:
    error = unmeasured(Plan((), tuple(images), frozenset(unreachable)))
    assert isinstance(error, kind)
    assert (error.message, error.exit_code) == (message, 69)
    assert error.hint


def test_nothing_is_unknown_where_all_was_found_out() -> None:
    there = [ImagePlan("r.example/a", "present", "", ("a",)), ImagePlan("r.example/b", "missing", "no", ("b",))]
    assert unmeasured(Plan((), tuple(there))) is None

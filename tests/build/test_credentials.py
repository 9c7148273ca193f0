"""Which credentials BuildKit is given, which asks by host."""

from flytebuild.build.credentials import for_build
from flytebuild.plan import ImagePlan
from flytebuild.registry.credentials import Credentials, Found
from tests.samples import BASE, spec

TARGET = "r.example/team/image:b3-1"


def planned(reference: str) -> ImagePlan:
    return ImagePlan(reference, "missing", "", ("env",), spec=spec("a"))


def test_those_for_what_is_pushed_come_before_those_for_bases_and_for_the_whole() -> None:
    held = {
        ("r.example", "team/image"): "target",
        ("r.example", ""): "no",
        ("mirror.example", "flyteorg/flyte"): "base",
        ("other.example", ""): "whole",
    }

    def find(host: str, repository: str) -> Found:
        name = held.get((host, repository))
        return Found(Credentials(name, "s")) if name else Found()

    pair = for_build([planned(TARGET)], lambda _words: None, find)
    assert BASE.location.startswith("mirror.example/flyteorg/flyte:")
    assert pair("r.example") == ("target", "s")
    assert pair("mirror.example") == ("base", "s")
    assert pair("other.example") == ("whole", "s")
    assert pair("unknown.example") is None


def test_why_there_are_none_is_told_once() -> None:
    told: list[str] = []
    pair = for_build([planned(TARGET)], told.append, lambda _host, _repository: Found(problem="`x` fails"))
    assert pair("r.example") is pair("r.example") is None
    assert told == ["There are no credentials for `r.example`: `x` fails"]

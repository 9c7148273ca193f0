"""What people see of the sizes of images."""

from pathlib import Path

import pytest

from flytebuild.cli.size import lines
from flytebuild.plan import ImagePlan
from flytebuild.size import StoredImage, StoredLayer, account
from tests.cli.calls import Call, each
from tests.loopback import with_base
from tests.schemas import validated

BASE = "pulled from ghcr.io/flyteorg/flyte:py3.11-v2.12.1@sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("width", "shown"), [(160, BASE), (100, BASE[:73] + "…"), (80, BASE[:53] + "…"), (20, BASE[:39] + "…")]
)
def test_a_layer_s_name_is_whole_where_the_width_allows(width: int, shown: str) -> None:
    base = StoredLayer("sha256:1", 40_000_000, BASE)
    found = account([StoredImage(f"r.example/{name}:1", (name,), (base,)) for name in ("a", "b")])
    told = [line.plain for line in lines(found, [], width)]
    assert told == [
        "Images",
        "    40.0 MB  a  0 B of its own, 40.0 MB shared",
        "    40.0 MB  b  0 B of its own, 40.0 MB shared",
        "Layers",
        f"    40.0 MB  {shown}  in 2 images",
        "2 images, 40.0 MB together",
    ]


def test_what_is_unknown_is_not_absent() -> None:
    there = StoredImage("r.example/a:1", ("a",), (StoredLayer("sha256:1", 1000, "base"),))
    absent = [
        ImagePlan("r.example/b:1", "missing", "not in r.example/b", ("b",)),
        ImagePlan("s.example/c:1", "unknown", "`s.example` does not answer", ("c",)),
    ]
    told = [line.plain for line in lines(account([there]), absent, 100)]
    assert told[2:4] == ["          ?  b  not there", "          ?  c  unknown: `s.example` does not answer"]


def test_a_registry_that_does_not_answer_has_nothing_that_is_not_there(tmp_path: Path) -> None:
    image = 'flyte.Image.from_base("base.test/x:1").clone(name="it", extendable=True, python_version=(3, 11))'
    code = f'import flyte\nenv = flyte.TaskEnvironment(name="env", image={image}.with_commands(["true"]))\n'
    (tmp_path / "main.py").write_text(code)
    with with_base() as (_, environ):
        nobody = {**environ, "FLYTEBUILD_REGISTRY": "127.0.0.1:1/acme"}
        words = ["size", "--budget", "1MB", "--json", "main.py"]
        there, told = each([Call(tmp_path, words, environ), Call(tmp_path, words, nobody)], tmp_path / "home")
    found, document = validated(there.out), validated(told.out)
    assert (there.code, len(found["not_there"]), found["unknown"]) == (0, 1, [])
    assert (told.code, document["not_there"], len(document["unknown"])) == (69, [], 1)
    assert "`flytebuild build` first" in there.err
    assert "`flytebuild build` first" not in told.err
    assert "error: The registry `127.0.0.1:1` does not answer, so it is not known how large" in told.err

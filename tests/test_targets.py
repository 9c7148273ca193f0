"""What `--for` stands for."""

import pytest

from flytebuild.errors import UnknownTargetError, UsageError
from flytebuild.targets import Candidate, Targets

CANDIDATES = [
    Candidate("train", "train", "flows.train", "/src/flows/train.py"),
    Candidate("train.run", "train", "flows.train", "/src/flows/train.py"),
    Candidate("train-gpu", "train-gpu", "flows.train", "/src/flows/train.py"),
    Candidate("train-gpu.fit", "train-gpu", "flows.gpu", "/src/flows/gpu.py"),
    Candidate("eval", "eval", "flows.evaluate", "/src/flows/evaluate.py"),
    Candidate("eval.run", "eval", "flows.evaluate", "/src/flows/evaluate.py"),
]
TARGETS = Targets(CANDIDATES)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["eval"], ["eval"]),
        (["eval.run", "train", "eval"], ["eval", "train"]),
        (["fit"], ["train-gpu"]),
        (["train*"], ["train", "train-gpu"]),
        (["*.run"], ["train", "eval"]),
        (["?un"], ["train", "eval"]),
        (["flows.gpu:fit"], ["train-gpu"]),
        (["gpu:fit"], ["train-gpu"]),
        (["flows.train:*"], ["train", "train-gpu"]),
        (["flows/evaluate.py:run"], ["eval"]),
        (["./evaluate.py:*"], ["eval"]),
    ],
)
def test_names_patterns_and_modules(asked: list[str], found: list[str]) -> None:
    assert list(TARGETS.environments(asked)) == found


@pytest.mark.parametrize("asked", ["nothing*", "flows.gpu:run", "ows.gpu:fit", "pu.py:fit"])
def test_what_stands_for_nothing(asked: str) -> None:
    with pytest.raises(UnknownTargetError, match="No task or environment is called"):
        TARGETS.environments([asked])


def test_what_there_is_is_told_where_nothing_is_similar() -> None:
    app = Candidate("api", "api", "flows.api", "/src/flows/api.py")
    with pytest.raises(UnknownTargetError) as caught:
        Targets([app, *CANDIDATES]).environments(["zzzzzz"])
    assert caught.value.hint == "known names: `api`, `eval.run`, `train-gpu.fit`, `train.run`"


def test_one_is_one() -> None:
    assert TARGETS.environment("fit") == "train-gpu"
    with pytest.raises(UsageError, match="is a task of several environments"):
        TARGETS.environment("run")
    with pytest.raises(UsageError, match="stands for several environments"):
        TARGETS.environment("train*")

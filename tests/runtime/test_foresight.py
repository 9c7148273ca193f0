"""What tasks would be refused for, before they are started."""

from __future__ import annotations

from flyteidl2.core.tasks_pb2 import Resources

from flytebuild.authoring.wishes import Wish
from flytebuild.runtime.admission import Capacity, capacity_of
from flytebuild.runtime.foresight import refusals

MACHINE = capacity_of({"NCPU": 2, "MemTotal": 8 << 30})


def resources(**amounts: str) -> Resources:
    names = {"cpu": Resources.CPU, "memory": Resources.MEMORY, "gpu": Resources.GPU}
    return Resources(
        requests=[Resources.ResourceEntry(name=names[name], value=value) for name, value in amounts.items()]
    )


def told(*wishes: Wish, capacity: Capacity = MACHINE, **missing: str) -> list[tuple[str, str]]:
    return [(item.message, item.hint) for item in refusals(wishes, capacity, missing)]


def test_more_than_the_machine_has() -> None:
    small = Wish("env.small", (), resources(cpu="1500m", memory="4Gi", gpu="1"))
    large = Wish("env.large", (), resources(cpu="64", memory="1Ti"))
    ((message, hint),) = told(small, large)
    assert message.startswith("`env.large` asks for 64 CPUs, where this machine has 2 CPUs; 1")
    assert hint == "ask for less with `flyte.Resources(…)`, or run it where there is more"
    # How many GPUs an older engine has is not known.
    assert told(small, capacity=Capacity(gpus=0))[0][0].startswith("`env.small` asks for 1 GPU")


def test_secrets_that_nobody_has() -> None:
    wish = Wish("env.train", ("HF_TOKEN", "OTHER"), None)
    assert told(wish, HF_TOKEN="there is none; set it") == [
        ("`env.train` asks for the secret `HF_TOKEN`, and there is none", "set it")
    ]


def test_what_cannot_be_read_is_told_by_whoever_takes_the_task() -> None:
    assert told(Wish("env.odd", (), resources(cpu="many"))) == []

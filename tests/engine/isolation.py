"""A workflow that tells what its containers can import, and which they are."""

import importlib.util
import socket

import flyte
from fold.run import fold_image
from msa.run import MSA_PACKAGES

probe_msa = flyte.TaskEnvironment(
    name="probe_msa", image=flyte.Image.from_debian_base().with_pip_packages(*MSA_PACKAGES)
)
probe_main = flyte.TaskEnvironment(
    name="probe_main", image=fold_image.with_pip_packages(*MSA_PACKAGES), depends_on=[probe_msa]
)


def look() -> dict[str, str | bool]:
    found: dict[str, str | bool] = {name: importlib.util.find_spec(name) is not None for name in ("ruff", "pytest")}
    return {**found, "host": socket.gethostname()}


@probe_msa.task
def ask() -> dict[str, str | bool]:
    return look()


@probe_main.task
def compare() -> dict[str, dict[str, str | bool]]:
    return {"main": look(), "msa": ask()}

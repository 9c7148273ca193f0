"""A small project with something of everything, and a registry that has some of its images."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import flyte
from msgspec.structs import replace

from flytebuild import pipeline
from flytebuild.build.labels import labels
from flytebuild.config import Config
from flytebuild.history import tags
from flytebuild.plan import ImagePlan, Plan
from flytebuild.spec.digests import digests
from tests.loopback import digest_of, publish, registry

MAIN = """\
from pathlib import Path

import flyte
import nobody_has_this

here = Path(__file__).parent
debian = flyte.Image.from_debian_base(python_version=(3, 11))
tools = debian.clone(name="tools", extendable=True).with_apt_packages("git").with_pip_packages("packaging==25.0")
prepared = tools.with_pip_packages("nobody-has-this==1.0")
trained = tools.with_source_folder(here / "data").with_pip_packages("{torch}").with_env_vars({{"LEVEL": "1"}})

prepare = flyte.TaskEnvironment(name="prepare", image=prepared)
train = flyte.TaskEnvironment(name="train", image=trained, env_vars={{"API_TOKEN": "abcdefgh1234"}})
notify = flyte.TaskEnvironment(name="notify", image="ghcr.io/acme/notify:1")
main_env = flyte.TaskEnvironment(name="main_env", image=tools.with_pip_packages("rich"), depends_on=[prepare, notify])
{more}

@prepare.task
def clean(path: str) -> str:
    return nobody_has_this.clean(path)


@train.task
def fit(path: str) -> float:
    return 1.0


@notify.task
def tell(score: float) -> None: ...


@main_env.task
def main(path: str) -> float:
    score = fit(clean(path))
    tell(score)
    return score
"""
_LAYERS = (
    (40_000_000, "base"),
    (25_000_000, "RUN apt-get install git"),
    (1_500_000, "RUN uv pip install packaging==25.0"),
)
_INDEX_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Project:
    """The folder with `main.py`, the registry's address, and the variables that lead there."""

    folder: Path
    host: str

    @property
    def environ(self) -> dict[str, str]:
        return {
            "FLYTEBUILD_REGISTRY": f"{self.host}/acme",
            "FLYTEBUILD_MIRRORS": f"ghcr.io={self.host}",
            "FLYTEBUILD_PLATFORMS": "linux/amd64",
        }

    @property
    def known(self) -> dict[str, str]:
        """What is not the same everywhere, and what it is called."""
        return {str(self.folder): "/project", self.host: "registry.test", f"-v{flyte.version()}": "-v<flyte>"}

    def write(self, torch: str, more: str = "") -> None:
        (self.folder / "main.py").write_text(MAIN.format(torch=torch, more=more))


@contextmanager
def project(folder: Path) -> Iterator[Project]:
    """The image of `prepare` is there, `train` had another one, and one is left over that nobody needs any more."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "names.csv").write_text("a,b\n")
    with registry() as (host, objects):
        publish(objects, "flyteorg/flyte", f"py3.11-v{flyte.version()}", "amd64")
        publish(objects, "astral-sh/uv", "0.13.4", "amd64")
        found = Project(folder, host)
        found.write("torch==2.8.0", 'gone = flyte.TaskEnvironment(name="gone", image=tools.with_pip_packages("tqdm"))')
        images = {name: image for image in _planned(found).images for name in image.environments}
        _put(objects, images["prepare"], _LAYERS)
        _put(objects, images["train"], (*_LAYERS, (900_000_000, "RUN uv pip install torch==2.8.0")))
        _put(objects, images["gone"], (*_LAYERS, (78_000, "RUN uv pip install tqdm")))
        found.write("torch==2.9.1")
        yield found


def _planned(there: Project) -> Plan:
    config = replace(
        Config(), registry=f"{there.host}/acme", mirrors={"ghcr.io": there.host}, platforms=("linux/amd64",)
    )
    from flytebuild.authoring.loader import load

    with patch.dict(sys.modules), patch.object(sys, "path", list(sys.path)):
        definitions = load([there.folder], stand_in=True)
        with patch.dict("os.environ", XDG_STATE_HOME=str(there.folder.parent / "state")):
            return asyncio.run(pipeline.plan_definitions(replace(config, stat_cache=False), definitions))


def _put(objects: dict[str, bytes], image: ImagePlan, layers: tuple[tuple[int, str], ...]) -> None:
    """Have an image there, under its own tag and those of its environments."""
    assert image.spec
    names = [image.reference, *tags(image)]
    repository = image.reference.rpartition(":")[0].partition("/")[2]
    history = [{"created_by": words} for _, words in layers]
    config = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "created": "2026-03-01T12:00:00.123456789Z",
            "config": {"Labels": labels(image.spec, digests(image.spec))},
            "history": history,
        }
    ).encode()
    listed = [{"digest": digest_of(words.encode()), "size": size} for size, words in layers]
    manifest = json.dumps(
        {"mediaType": _INDEX_TYPE, "config": {"digest": digest_of(config)}, "layers": listed}
    ).encode()
    objects[f"/v2/{repository}/blobs/{digest_of(config)}"] = config
    objects[f"/v2/{repository}/manifests/{digest_of(manifest)}"] = manifest
    for name in names:
        objects[f"/v2/{repository}/manifests/{name.rpartition(':')[2]}"] = manifest
    path = f"/v2/{repository}/tags/list?n=1000"
    listed_tags = json.loads(objects.get(path, b'{"tags": []}'))["tags"]
    objects[path] = json.dumps({"tags": [*listed_tags, *(name.rpartition(":")[2] for name in names)]}).encode()

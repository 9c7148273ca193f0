"""Golden vectors: the same digests by the package and by a second implementation of `docs/spec.md`.

`vectors.json` is written by hand from what a failing test prints; a change in it means that images are built anew.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from msgspec.structs import replace

from flytebuild.spec import layers
from flytebuild.spec.canonical import digest, encode
from flytebuild.spec.digests import base_document, digests, index_digest, tag_of
from flytebuild.spec.images import RuntimeConfig
from flytebuild.spec.layers import EMITTERS, EXECUTING, LocalPackage, PipOptions, Secret
from flytebuild.spec.model import DockerfileDefinition, ImageSpec, RunAs, SetEnv, SetLabels, SetWorkDir
from flytebuild.spec.specify import specify
from flytebuild.spec.tree import Entry, Tree, assemble, folder_entry, link_entry
from tests.samples import AMD64, ARM64, BASE, PIXI, UV, file_entry, made_of, pip, put_on_top
from tests.spec import independent

VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text(encoding="utf-8"))

FOLDERS: Mapping[str, Mapping[str, Any]] = {
    "empty": {},
    "three": {"a": {"file": "hi\n"}, "r": {"executable": ""}, "l": {"link": "a"}},
    "nested": {
        "b": {"folder": {"empty": {"folder": {}}, "run.sh": {"executable": "#!/bin/sh\n"}}},
        "a b": {"file": "\u00e9\r\n"},
        "\u00e9": {"file": "composed"},
        "e\u0301": {"file": "not composed"},
        "up": {"link": "../x y"},
        "Z": {"file": ""},
    },
    "requirements": {"r.txt": {"file": "-c pins/c.txt\nsix\n"}, "pins": {"folder": {"c.txt": {"file": "six<2\n"}}}},
    "wheels": {"a-1-py3-none-any.whl": {"file": "PK"}},
    "project": {"pyproject.toml": {"file": '[project]\nname = "p"\n'}, "uv.lock": {"file": "version = 1\n"}},
    "package": {"setup.py": {"file": "import setuptools\n"}},
    "context": {"Dockerfile": {"file": "FROM scratch\n"}},
}


def tree(name: str) -> Tree:
    """The package's tree of one of the folders above."""
    return assemble(entries(FOLDERS[name], ""))


def entries(folder: Mapping[str, Any], prefix: str) -> Iterator[Entry]:
    for name, entry in folder.items():
        ((kind, content),) = entry.items()
        if kind == "folder":
            yield folder_entry(prefix + name)
            yield from entries(content, f"{prefix}{name}/")
        elif kind == "link":
            yield link_entry(prefix + name, content)
        else:
            raw = content.encode()
            yield file_entry(prefix + name, blake3(raw).hexdigest(), len(raw), executable=kind == "executable")


SECRET = Secret(group="g", key="token", env="G_TOKEN")
FILE_SECRET = Secret(group="", key="netrc", target="/etc/flyte/secrets")
OPTIONS = PipOptions(
    "https://i.example/simple", ("https://a.example/s", "https://b.example/s"), True, "--no-deps", (SECRET, FILE_SECRET)
)

PIN = layers.Pin("numpy", "2.3.0", "numpy-2.3.0-py3-none-any.whl", "6" * 64, "https://i.example/numpy.whl", 1)
WHEEL_LAYER = layers.WheelLayer(
    (PIN, replace(PIN, name="pandas", filename="pandas-2.3.0-py3-none-any.whl")), UV, "3.11", AMD64, "/opt/venv"
)

MERGED = layers.Pinned(WHEEL_LAYER.pins, "layers", layers=(WHEEL_LAYER,))


def every_layer(**fields: Any) -> ImageSpec:
    """Every kind of layer that an image of layers can have, and every kind of setting."""
    packages = (LocalPackage("../lib", tree("package")), LocalPackage("./a", tree("empty")))
    return made_of(
        SetLabels((("\ue000", "2"), ("\U0001f600", "1"), ("a", 'quoted "\\" \u0001'))),
        pip("numpy<3,>=1.26", "pandas"),
        replace(pip("a"), options=OPTIONS),
        layers.Requirements(tree("requirements"), "r.txt", PipOptions(pre=True)),
        layers.Wheels("flyte", tree("wheels")),
        SetEnv((("A", "1 2"), ("B", "$A/${C:-x}"))),
        layers.AptPackages(("curl", "git-"), (SECRET,)),
        layers.Command(shell="echo 'a  b'\ntrue"),
        layers.Command(args=("/bin/true", "\u00fc"), secrets=(FILE_SECRET,)),
        SetWorkDir("/srv/$B"),
        layers.UvProject("dependencies_only", tree("project"), locked=True, packages=packages, options=OPTIONS),
        layers.UvProject("install_project", tree("project"), locked=False),
        layers.PoetryProject("dependencies_only", tree("project"), "2.2.1", packages, "--only main", (SECRET,)),
        layers.Copy(tree("nested"), "data", owner="flyte"),
        layers.Copy(tree("package"), "/x/y", into=False),
        layers.Folder("/opt/z"),
        layers.PixiProject(
            "pixi.toml", "default", True, texts=(("pixi.toml", "[workspace]"), ("pixi.lock", "version: 6"))
        ),
        layers.PixiProject("pyproject.toml", "gpu", False, tree("project"), (), packages, "--all", (SECRET,)),
        RunAs("app"),
        **fields,
    )


def dockerfile() -> ImageSpec:
    layer = layers.Dockerfile(tree("context"), tree("context"), syntax="docker/dockerfile:1 and more")
    images = {"tool:1": replace(UV, reference="tool:1"), "\u00fc:1": replace(PIXI, reference="\u00fc:1", digest=None)}
    definition = DockerfileDefinition("n", None, (AMD64,), layer, tuple(images))
    frontends = {"docker/dockerfile:1": replace(UV, reference="docker/dockerfile:1")}
    return specify(definition, AMD64, images, frontends)


IMAGES = {
    "no layers": made_of(),
    "every layer": every_layer(),
    "every layer on another platform": every_layer(platform=ARM64),
    "a base with a configuration": made_of(
        base=replace(
            BASE,
            config=RuntimeConfig(
                (("LD_LIBRARY_PATH", "/opt/lib"),),
                "",
                "/",
                ("/e", "-x"),
                ("c",),
                (("l", "1"),),
                other='{"StopSignal": "SIGINT"}',
            ),
        )
    ),
    "a base with a shell": made_of(
        layers.Command(shell="[[ a == a ]]"),
        layers.Command(args=("true",)),
        base=replace(BASE, config=RuntimeConfig(shell=("/bin/bash", "-o", "pipefail", "-c"))),
    ),
    "an unresolved base": made_of(pip("a"), base=replace(BASE, digest=None, problem="no answer")),
    "a Dockerfile": dockerfile(),
    "pinned packages": made_of(
        layers.Pinned((PIN, replace(PIN, name="pandas", filename="pandas-2.3.0-py3-none-any.whl"))),
        layers.Pinned((replace(PIN, version="2.4.0", filename="numpy-2.4.0-py3-none-any.whl"),), "layers", OPTIONS),
    ),
    "wheel layers": made_of(MERGED),
    "wheel layers on top of a base": put_on_top(made_of(MERGED)),
}


def described(spec: ImageSpec) -> dict[str, Any]:
    """What a vector says of an image: its documents, and their digests."""
    found = digests(spec)
    documents = [step.document("") for step in spec.steps]
    return {
        "base": _without(base_document(spec.base, str(spec.platform)), "platform", "schema"),
        "platform": str(spec.platform),
        "layers": [_without(document, "parent", "schema") for document in documents],
        "config": dict(spec.config.document()),
        "digests": {"base": found.base, "layers": list(found.layers), "config": found.config, "image": found.image},
        "tag": found.tag,
    }


def _without(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def shown(value: Any) -> str:
    return "the value is now\n" + json.dumps(value, indent=1, sort_keys=True)


@pytest.mark.parametrize("name", IMAGES)
def test_images_are_what_they_were(name: str) -> None:
    now = described(IMAGES[name])
    assert now == VECTORS["images"].get(name), shown(now)


@pytest.mark.parametrize("name", VECTORS["images"])
def test_images_by_the_second_implementation(name: str) -> None:
    vector = VECTORS["images"][name]
    assert independent.image(vector) == vector["digests"]
    assert vector["tag"] == "b3-" + vector["digests"]["image"][:32]


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(name: str) -> None:
    now = {"entries": FOLDERS[name], "digest": tree(name).digest}
    assert now == VECTORS["folders"].get(name), shown(now)
    assert independent.folder(VECTORS["folders"][name]["entries"]) == now["digest"]


@pytest.mark.parametrize("vector", VECTORS["files"] + VECTORS["links"], ids=str)
def test_files_and_links(vector: Mapping[str, str]) -> None:
    if "content" in vector:
        assert blake3(vector["content"].encode()).hexdigest() == vector["digest"]
    else:
        assert link_entry("l", vector["target"]).digest == vector["digest"]
        assert independent.hashed("link", vector["target"].encode()) == vector["digest"]


@pytest.mark.parametrize("vector", VECTORS["documents"], ids=lambda vector: str(vector["digest"][:8]))
def test_documents(vector: Mapping[str, Any]) -> None:
    domain, document = vector["domain"], vector["document"]
    assert encode(document) == independent.canonical(document) == vector["encoded"].encode()
    now = digest(domain, document)
    assert now == vector["digest"], shown({**vector, "digest": now})
    assert independent.hashed(domain, independent.canonical(document)) == vector["digest"]


def test_an_index() -> None:
    found = {platform: digests(every_layer(platform=platform)).image for platform in (AMD64, ARM64)}
    now = {"platforms": {str(platform): image for platform, image in found.items()}, "digest": index_digest(found)}
    assert now == VECTORS["index"], shown(now)
    assert independent.index(now["platforms"]) == now["digest"]  # type: ignore[arg-type]
    assert tag_of(now["digest"]).startswith("b3-")  # type: ignore[arg-type]


def test_a_wheel_layer() -> None:
    """Its key is one of a document, as those above; images name it by that."""
    (vector,) = [item for item in VECTORS["documents"] if item["domain"] == "wheels"]
    assert WHEEL_LAYER.document() == vector["document"], shown(WHEEL_LAYER.document())
    assert WHEEL_LAYER.key == vector["digest"]
    assert vector["digest"] in [
        key for layer in VECTORS["images"]["wheel layers"]["layers"] for key in layer["spec"].get("layers", ())
    ]


def test_vectors_have_every_kind_of_layer_and_every_field() -> None:
    """A kind that comes later needs a vector, and so does every field that a kind may leave out."""
    found: dict[str, set[str]] = {}
    for vector in VECTORS["images"].values():
        for layer in vector["layers"]:
            assert layer["emitter"] == EMITTERS[layer["kind"]]
            assert ("step" in layer) == (layer["kind"] in EXECUTING and "layers" not in layer["spec"])
            found.setdefault(layer["kind"], set()).update(layer["spec"])
    assert set(found) == set(EMITTERS)
    options = {"index_url", "extra_index_urls", "pre", "extra_args", "secrets"}
    assert found["pip"] == {"requirements"} | options
    assert found["uv"] == {"image", "source", "path", "apart"}
    assert found["pinned"] == {"pins", "recipe", "layers"}
    assert found["uv-project"] == {"mode", "tree", "locked", "packages"} | options
    assert found["poetry-project"] == {"mode", "tree", "version", "packages", "extra_args", "secrets"}
    assert found["pixi-project"] >= {"manifest", "environment", "locked", "tree", "texts", "packages", "extra_args"}
    assert found["command"] == {"shell", "args", "secrets"}
    assert found["copy"] == {"tree", "destination", "into", "owner"}
    assert found["dockerfile"] == {"file", "tree", "images", "frontend"}


def test_trees_in_vectors_are_those_of_the_folders() -> None:
    """Nothing in a vector is a number that nobody could compute."""
    known = {vector["digest"] for vector in VECTORS["folders"].values()}
    named = {
        tree
        for vector in VECTORS["images"].values()
        for layer in vector["layers"]
        for tree in [
            layer["spec"].get("tree"),
            *(package["tree"] for package in layer["spec"].get("packages", ()) if isinstance(package, dict)),
        ]
        if tree
    }
    assert named <= known

"""Random images over the SDK's whole API: drawn, changed in one place, and written in another way that means the same.

A drawn image is a list of calls, so that a change and a rewriting have something to work on. `rewritings` and `changes`
yield other lists: the first must come to the same image, the second to another one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import flyte
from flyte import Secret
from flyte._image import PythonWheels

from tests.authoring.meaning import extendable

NAMES = ["numpy", "pandas", "Ruff", "zope.interface", "a_b", "httpx"]
SPECIFIERS = ["", "", "==1.0", ">=1,<2", ">1", "!=1.5,>=1", "~=1.4"]
EXTRAS = ["", "", "[http2]", "[b,a]"]
URLS = ["https://i.example/simple", "https://j.example/simple", "https://i.example/simpl"]
WORDS = ["a", "b", "ab", "a b", "1", "x=y", "'q'", "\u00fc"]
PROJECTS = {"uv": "with_uv_project", "poetry": "with_poetry_project", "pixi": "with_pixi_project"}


@dataclass(frozen=True)
class Call:
    """One `with_` method (or `wheels`, which has none that takes a folder) with its arguments."""

    method: str
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def on(self, image: flyte.Image) -> flyte.Image:
        if self.method == "wheels":
            folder, package = self.args
            return image.clone(addl_layer=PythonWheels(wheel_dir=folder, package_name=package, **self.options))
        made: flyte.Image = getattr(image, self.method)(*self.args, **self.options)
        return made


@dataclass(frozen=True)
class Drawn:
    """An image before it is made: how it starts, and what is called on it."""

    start: Mapping[str, Any]
    calls: tuple[Call, ...]

    def image(self) -> flyte.Image:
        image = started(**self.start)
        for call in self.calls:
            image = call.on(image)
        return image

    def at(self, position: int, *calls: Call) -> Drawn:
        """With other calls in the place of one."""
        return replace(self, calls=(*self.calls[:position], *calls, *self.calls[position + 1 :]))


def draw(dice: random.Random, files: Path) -> Drawn:
    """An image of one to six layers on the files of `write_files`."""
    way, source = dice.choice(
        [
            *(("base", f"r.example/base:{number}") for number in (1, 2)),
            ("name", "r.example/base:1"),
            *(("debian", is_with_flyte) for is_with_flyte in (True, False)),
            *((kind, files / "script.py") for kind in ("uv script", "pixi script")),
            ("dockerfile", files / "docker/Dockerfile"),
        ]
    )
    start = {
        "way": way,
        "source": source,
        "python_version": dice.choice([(3, 11), (3, 13)]),
        "platform": dice.choice([("linux/amd64",), ("linux/arm64",), ("linux/amd64", "linux/arm64")]),
        "name": dice.choice(["x", "y"]),
    }
    makers = list(_MAKERS.values())
    count = 0 if way == "dockerfile" else dice.randint(1, 6)
    return Drawn(start, tuple(dice.choice(makers)(dice, files) for _ in range(count)))


def started(way: str, source: Any, name: str, registry: str = "r.example", **options: Any) -> flyte.Image:
    """An image by one of the SDK's constructors; `source` is what it is mainly made of."""
    platform, python = options.pop("platform"), options.pop("python_version")
    match way:
        case "base":
            image = extendable(source)
        case "name":
            image = flyte.Image.from_ref_name("configured").clone(base_image=source)
        case "debian":
            image = flyte.Image.from_debian_base(python, install_flyte=source, name=name)
        case "uv script":
            image = flyte.Image.from_uv_script(source, name=name, python_version=python, **options)
        case "pixi script":
            image = flyte.Image.from_pixi_script(source, name=name, platform=platform, **options)
        case _:
            return flyte.Image.from_dockerfile(source, registry, name, platform)
    return image.clone(name=name, registry=registry, platform=platform, python_version=python, extendable=True)


def changes(drawn: Drawn, dice: random.Random, files: Path) -> Iterator[tuple[str, Drawn]]:
    """Images that differ from this one in one thing that reaches a container, each with what it is."""
    start, way = drawn.start, drawn.start["way"]
    match way:
        case "base" | "name":
            yield "base", replace(drawn, start={**start, "source": start["source"] + "0"})
        case "debian":
            yield "flyte", replace(drawn, start={**start, "source": not start["source"]})
        case "uv script":
            yield "index", replace(drawn, start={**start, "index_url": URLS[0]})
        case "pixi script":
            yield "environment", replace(drawn, start={**start, "environment": "another"})
        case _:
            yield "context", replace(drawn, start={**start, "source": files / "other/docker/Dockerfile"})
    others = {("linux/amd64",), ("linux/arm64",), ("linux/amd64", "linux/arm64")} - {start["platform"]}
    yield "platform", replace(drawn, start={**start, "platform": dice.choice(sorted(others))})
    if way == "dockerfile":
        return
    yield "python", replace(drawn, start={**start, "python_version": (3, 12)})
    yield "one more layer", replace(drawn, calls=(*drawn.calls, Call("with_commands", (["one more"],))))
    for position, call in enumerate(drawn.calls):
        later = {
            name for other in drawn.calls[position + 1 :] if other.method == "with_env_vars" for name in other.args[0]
        }
        for what, changed in _changed(call, files):
            if what == "value" and next(iter(call.args[0])) in later:
                # What is set once more may never be seen.
                continue
            yield f"{what} of {call}", drawn.at(position, changed)
        if call.method in ("with_pip_packages", "with_apt_packages", "with_commands"):
            yield f"{call} twice", drawn.at(position, call, call)
    for position, (one, other) in enumerate(zip(drawn.calls, drawn.calls[1:], strict=False)):
        if one != other and {one.method, other.method} <= {"with_pip_packages", "with_apt_packages", "with_commands"}:
            calls = (*drawn.calls[:position], other, one, *drawn.calls[position + 2 :])
            yield f"order of {one} and {other}", replace(drawn, calls=calls)


def rewritings(drawn: Drawn, dice: random.Random, files: Path, copy: Path) -> Iterator[tuple[str, Drawn]]:
    """The same image written in another way, each with what was done. `copy` is a copy of `files`."""
    start, way, source = drawn.start, drawn.start["way"], drawn.start["source"]
    yield "name and registry", replace(drawn, start={**start, "name": "another", "registry": "elsewhere.example"})
    if way != "pixi script":
        # The manifest that the SDK makes of a script names them in their order.
        yield "order of platforms", replace(drawn, start={**start, "platform": start["platform"][::-1]})
    moved = copy / source.relative_to(files) if isinstance(source, Path) else source
    calls = tuple(_moved(call, files, copy) for call in drawn.calls)
    yield "other folder", Drawn({**start, "source": moved}, calls)
    if way == "dockerfile":
        return
    if way.endswith("script"):
        yield "the rest of the script", replace(drawn, start={**start, "source": files / "other/script.py"})
    if way in ("base", "name"):
        yield "constructor", replace(drawn, start={**start, "way": "name" if way == "base" else "base"})
    ignore = Call("with_dockerignore", (files / "ignore-nothing",))
    yield "an ignore file", replace(drawn, calls=(*drawn.calls, ignore))
    yield "an unresolved bundle", replace(drawn, calls=(*drawn.calls, Call("with_code_bundle")))
    for position, call in enumerate(drawn.calls):
        for what, calls in _spelt(call, dice):
            yield f"{what} of {call}", drawn.at(position, *calls)


def _requirement(dice: random.Random) -> str:
    return dice.choice(NAMES) + dice.choice(EXTRAS) + dice.choice(SPECIFIERS)


def _secrets(dice: random.Random) -> dict[str, Any]:
    found: list[Any] = ["TOKEN", Secret("key", group="g"), Secret("K", as_env_var="OTHER"), Secret("F", mount=MOUNT)]
    return {"secret_mounts": dice.sample(found, dice.randint(1, 3))} if dice.random() < 0.4 else {}


MOUNT = Path("/etc/flyte/secrets")


def _options(dice: random.Random) -> dict[str, Any]:
    found = _secrets(dice)
    if dice.random() < 0.3:
        found["index_url"] = dice.choice(URLS)
    if dice.random() < 0.3:
        found["extra_index_urls"] = tuple(dice.sample(URLS, dice.randint(1, 2)))
    if dice.random() < 0.3:
        found["pre"] = True
    if dice.random() < 0.3:
        found["extra_args"] = dice.choice(["--no-deps", "--quiet", "--no-deps --quiet"])
    return found


def _project(kind: str) -> Callable[[random.Random, Path], Call]:
    def made(dice: random.Random, files: Path) -> Call:
        options = _options(dice) if kind == "uv" else _secrets(dice)
        options["project_install_mode"] = dice.choice(["dependencies_only", "install_project"])
        manifest = "pixi.toml" if kind == "pixi" else "pyproject.toml"
        return Call(PROJECTS[kind], (files / kind / manifest,), options)

    return made


def _sample(dice: random.Random, found: list[str]) -> list[str]:
    return dice.sample(found, dice.randint(1, 3))


_MAKERS: dict[str, Callable[[random.Random, Path], Call]] = {
    "pip": lambda dice, _: Call(
        "with_pip_packages", tuple(_requirement(dice) for _ in range(dice.randint(1, 3))), _options(dice)
    ),
    "requirements": lambda dice, files: Call("with_requirements", (files / "requirements.txt",), _options(dice)),
    "wheels": lambda dice, files: Call("wheels", (files / "dist", dice.choice(["a", "b"]))),
    "apt": lambda dice, _: Call(
        "with_apt_packages", tuple(_sample(dice, ["git", "curl", "gcc-", "vim=2"])), _secrets(dice)
    ),
    "commands": lambda dice, _: Call(
        "with_commands", (_sample(dice, ["true", "echo  a", '["echo", "a"]', "<<EOF\necho a\nEOF"]),), _secrets(dice)
    ),
    "env": lambda dice, _: Call(
        "with_env_vars", ({name: dice.choice([*WORDS, "$B", "${C:-d}"]) for name in _sample(dice, ["A", "B", "self"])},)
    ),
    "workdir": lambda dice, _: Call("with_workdir", (dice.choice(["/srv", "/srv/b", "b", "../c", "/"]),)),
    "folder": lambda dice, files: Call(
        "with_source_folder",
        (files / "src", dice.choice(["/data", "data", "."])),
        {"copy_contents_only": dice.random() < 0.5},
    ),
    "file": lambda dice, files: Call(
        "with_source_file", (files / dice.choice(["src/main.py", "src/a"]), dice.choice(["/data/", "/data/f", "."]))
    ),
    "uv": _project("uv"),
    "poetry": _project("poetry"),
    "pixi": _project("pixi"),
}


def _changed(call: Call, files: Path) -> Iterator[tuple[str, Call]]:
    """One field of a call with another value."""
    options = dict(call.options)
    if call.method != "wheels" and "secret_mounts" in _accepted(call):
        more = [*options.get("secret_mounts", ()), Secret("MORE")]
        yield "secret", replace(call, options={**options, "secret_mounts": more})
    if call.method in ("with_pip_packages", "with_requirements", "with_uv_project"):
        yield "index_url", replace(call, options={**options, "index_url": "https://k.example/simple"})
        more_urls = (*options.get("extra_index_urls", ()), "https://k.example/simple")
        yield "extra_index_urls", replace(call, options={**options, "extra_index_urls": more_urls})
        if len(urls := options.get("extra_index_urls", ())) > 1:
            yield "order of URLs", replace(call, options={**options, "extra_index_urls": urls[::-1]})
        yield "pre", replace(call, options={**options, "pre": not options.get("pre", False)})
        yield "extra_args", replace(call, options={**options, "extra_args": options.get("extra_args", "") + " -v"})
    if "project_install_mode" in options:
        modes = {"dependencies_only", "install_project"} - {options["project_install_mode"]}
        yield "mode", replace(call, options={**options, "project_install_mode": modes.pop()})
    match call.method, call.args:
        case "with_pip_packages", packages:
            yield "one package more", replace(call, args=(*packages, "one-more"))
            yield "one package joined", replace(call, args=("z" + packages[0], *packages[1:]))
            # The first mention counts, so turning them round is another order unless all are one.
            if len({package.lower() for package in packages}) > 1 and packages[::-1] != packages:
                yield "order", replace(call, args=packages[::-1])
        case "with_apt_packages", packages:
            yield "one package more", replace(call, args=(*packages, "one-more"))
            if len(packages) > 1:
                yield "order", replace(call, args=packages[::-1])
                yield "boundary", replace(call, args=("".join(packages[:2]), *packages[2:]))
        case "with_commands", (commands,):
            yield "one more blank", replace(call, args=([*commands[:-1], "echo a", "echo  a "],))
            if len(commands) > 1:
                yield "order", replace(call, args=(commands[::-1],))
        case "with_env_vars", (variables,):
            yield "value", replace(call, args=({**variables, next(iter(variables)): "another"},))
            yield "name", replace(call, args=({**variables, "ONE_MORE": ""},))
        case "with_workdir", (path,):
            yield "path", replace(call, args=(f"{path}/elsewhere",))
        case "with_source_folder" | "with_source_file", (source, destination):
            yield "destination", replace(call, args=(source, "/elsewhere/"))
            other = files / ("other" if source.is_dir() else f"other/{source.name}")
            yield "content", replace(call, args=(other, f"./{source.name}" if destination == "." else destination))
        case "wheels", (folder, package):
            yield "package", replace(call, args=(folder, package + "9"))
        case _:
            other = files / "other" / call.args[0].relative_to(files)
            yield "content", replace(call, args=(other, *call.args[1:]))


def _accepted(call: Call) -> frozenset[str]:
    without = {"with_env_vars", "with_workdir", "with_source_folder", "with_source_file"}
    return frozenset() if call.method in without else frozenset({"secret_mounts"})


def _spelt(call: Call, dice: random.Random) -> Iterator[tuple[str, tuple[Call, ...]]]:
    """A call in other words."""
    secrets = call.options.get("secret_mounts")
    if secrets:
        found = [Secret(item) if isinstance(item, str) else item for item in secrets]
        shuffled = dice.sample([*found, found[0]], len(found) + 1)
        yield "secrets", (replace(call, options={**call.options, "secret_mounts": shuffled}),)
    match call.method, call.args:
        case "with_pip_packages", packages:
            spelt = tuple(_respelt(package) for package in packages)
            yield "spelling", (replace(call, args=spelt),)
            yield "repeats", (replace(call, args=(*packages, *spelt)),)
        case "with_commands", (commands,):
            yield "split", tuple(replace(call, args=([command],)) for command in commands)
        case "with_env_vars", (variables,):
            yield "split", tuple(Call("with_env_vars", ({name: value},)) for name, value in variables.items())
            if not any("$" in value for value in variables.values()):
                turned = dict(reversed(variables.items()))
                yield (
                    "order",
                    (Call("with_env_vars", ({"A": "overwritten"},)), replace(call, args=(turned,)))
                    if ("A" in variables)
                    else (replace(call, args=(turned,)),),
                )
        case "with_workdir", (path,):
            yield "spelling", (replace(call, args=(f"{path}/./",)),)
        case "with_source_folder", (source, destination) if destination != ".":
            yield "spelling", (replace(call, args=(source, f"{destination}/x/..")),)
            turned_round = {"copy_contents_only": not call.options["copy_contents_only"]}
            yield "what a named destination makes no difference to", (replace(call, options=turned_round),)
        case "wheels", (folder, package):
            yield "spelling", (replace(call, args=(folder, package.upper())),)


def _respelt(requirement: str) -> str:
    """The same requirement with blanks, capitals, and its specifiers turned round."""
    name = requirement[: next((at for at, letter in enumerate(requirement) if letter in "[=<>!~"), len(requirement))]
    rest = requirement[len(name) :]
    extras, bracket, specifiers = rest.partition("]") if rest.startswith("[") else ("", "", rest)
    shuffled = " , ".join(reversed(specifiers.split(",")))
    return f" {name.upper().replace('_', '-.')} {extras}{bracket} {shuffled} "


def _moved(call: Call, files: Path, copy: Path) -> Call:
    """The same files in another folder."""
    args = (copy / item.relative_to(files) if isinstance(item, Path) else item for item in call.args)
    return replace(call, args=tuple(args))


def seeds() -> range:
    """As many as `TEST_IMAGES` says, from `TEST_IMAGES_SEED` on; a few where nothing is said."""
    first = int(os.environ.get("TEST_IMAGES_SEED", "0"))
    return range(first, first + int(os.environ.get("TEST_IMAGES", "50")))

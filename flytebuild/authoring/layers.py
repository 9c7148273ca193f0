"""From each kind of Flyte layer to the parts of our image definition.

Every layer type of the SDK has one function here, and every field of it is used there, or named in `OUTSIDE` with the
reason why it reaches no digest.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import flyte
from flyte._image import (
    _CREATE_FLYTE_USER_CMD,
    AptPackages,
    CodeBundleLayer,
    Commands,
    CopyConfig,
    DockerIgnore,
    Env,
    Layer,
    PipOption,
    PipPackages,
    PixiProject,
    PixiScript,
    PoetryProject,
    PythonWheels,
    Requirements,
    UVProject,
    UVScript,
    WorkDir,
    _DockerLines,
)

from flytebuild.authoring import credentials, projects, requirements, scripts, sdk
from flytebuild.authoring.credentials import CREDENTIALS, CREDENTIALS_HINT
from flytebuild.authoring.dockerfiles import is_one_instruction
from flytebuild.authoring.dockerlines import settings
from flytebuild.authoring.files import HostFiles, blamed
from flytebuild.authoring.site import Site
from flytebuild.spec import layers as spec
from flytebuild.spec import normalise
from flytebuild.spec.canonical import is_plain
from flytebuild.spec.model import Part, RunAs, SetEnv, SetLabels, SetWorkDir
from flytebuild.spec.specify import PIXI_PROJECT, VENV
from flytebuild.trees.problems import shown

POETRY_VERSION = "2.2.1"
"""The Poetry that installs projects; Flyte's builder takes whichever is newest."""

OWNER = "flyte"
"""Whom copied files belong to, where the image has that user."""

OUTSIDE = {
    "PythonWheels.wheel_dir": "a path of the host; the wheels' names and contents count",
    "PythonWheels.wheel_dir_name": "a path of the host",
    "Requirements.packages": "empty for a requirements file",
    "UVProject.pyproject": "a path of the host; the content counts",
    "UVProject.uvlock": "a path of the host; the content counts",
    "PoetryProject.pyproject": "a path of the host; the content counts",
    "PoetryProject.poetry_lock": "a path of the host; the content counts",
    "PixiProject.pixi_lock": "a path of the host; the content counts",
    "UVScript.script": "the script's metadata counts, not where or what it is",
    "UVScript.script_name": "a path of the host",
    "PixiScript.script": "the manifest that it comes to counts",
    "PixiScript.script_name": "a path of the host",
    "CopyConfig.src": "a path of the host; the tree counts, and a file's name, which it has in the image",
    "CodeBundleLayer.root_dir": "a path of the host; the tree counts",
    "DockerIgnore.path": "the files that it leaves count",
}
"""Fields of the SDK's layers that are in no digest by themselves, and why."""

_RAW = re.compile(
    r"^(?:-|\.{1,2}/|\.{1,2}$|/|~/|[A-Za-z][A-Za-z0-9+.-]*:)|\.(?:whl|tar\.gz|tar\.bz2|zip)$|^\$\{?\w+\}?"
)
_HEREDOC = re.compile(
    r"^<<(?P<dash>-?)(?P<quote>[\"']?)(?P<word>[A-Za-z_]\w*)(?P=quote)[ \t]*\n(?P<body>.*)\Z", re.DOTALL
)
_OTHER_HEREDOC = re.compile(r"""<<-?[ \t]*(?:"[^"\n]*"|'[^'\n]*'|\S+)[ \t]*(?:\n|\Z)""")
_NAME = re.compile(r"[^=\0\s]+")


def parts(layer: Layer, image: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """What a layer comes to. Raises UnsupportedImageError, naming the place, for what cannot be honoured."""
    # The exact type: a subclass may mean something else, as `Requirements` does.
    convert = _KINDS.get(type(layer))
    if convert is None:
        raise site.error("this kind of layer is not known to this version", hint="update flytebuild, or leave it out")
    with blamed(site):
        for part in convert(layer, image, files, site):
            if not _is_unicode(part):
                raise site.error(
                    "it holds text that is not Unicode, which no image can say of itself",
                    hint="give the file or folder a name in UTF-8, or decode the text",
                )
            yield part


def _is_unicode(part: Part) -> bool:
    """Whether a part has a canonical form: a name that the host has as bytes may be no text."""
    match part:
        case SetEnv(pairs=pairs) | SetLabels(pairs=pairs):
            return is_plain(pairs)
        case SetWorkDir(path=text) | RunAs(user=text):
            return is_plain(text)
        case _:
            return is_plain(part.fields())


def _pip(layer: PipPackages, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    yield spec.PipPackages(_requirements(layer.packages or (), site), _options(layer, site))


def _requirements_file(layer: Requirements, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    tree, name = requirements.read(Path(layer.file), files, site)
    yield spec.Requirements(tree, name, _options(layer, site), shown(Path(layer.file).name))


def _wheels(layer: PythonWheels, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    folder = Path(layer.wheel_dir)
    if not folder.is_dir():
        raise site.error(f"folder `{folder}` does not exist", hint="build the wheels first")
    wheels = {path.name: path for path in sorted(folder.glob("*.whl")) if path.is_file()}
    if not wheels:
        raise site.error(f"folder `{folder}` has no wheels", hint="build the wheels first")
    yield spec.Wheels(normalise.name(layer.package_name), files.files(wheels, site), _options(layer, site))


def _uv_project(layer: UVProject, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    yield _uv(layer.pyproject, layer.uvlock, layer.project_install_mode, _options(layer, site), files, site)


def _uv(
    manifest: Path, lock: Path | None, mode: Any, options: spec.PipOptions, files: HostFiles, site: Site
) -> spec.UvProject:
    manifest = Path(manifest)
    project = projects.toml(manifest, files, site)
    locked = projects.lock_of(manifest, Path(lock), "uv lock", files, site) if lock else None
    if lock and locked is not None:
        projects.check_uv_lock(project, locked, Path(lock), manifest, site)
    else:
        files.note(
            f"`{manifest}` has no `uv.lock`, so what is installed may be something else in another build; `uv lock` "
            "makes one"
        )
    packages = projects.uv_packages(manifest, project, locked, files, site)
    tree = projects.tree_of(manifest, Path(lock) if lock else None, "uv.lock", mode, files, site)
    if mode == "install_project":
        packages = tuple(package for package in packages if package.path.startswith(".."))
    return spec.UvProject(mode, tree, lock is not None, packages, options)


def _poetry_project(layer: PoetryProject, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    manifest, lock = Path(layer.pyproject), Path(layer.poetry_lock)
    project = projects.toml(manifest, files, site)
    locked = projects.lock_of(manifest, lock, "poetry lock", files, site)
    projects.check_poetry_lock(project, locked, lock, manifest, site)
    packages = projects.poetry_packages(manifest, locked, files, site)
    # A project that is no package has nothing to install but its dependencies.
    mode = layer.project_install_mode if projects.is_poetry_package(project) else "dependencies_only"
    if mode == "install_project":
        packages = tuple(package for package in packages if package.path.startswith(".."))
    yield spec.PoetryProject(
        mode=mode,
        tree=projects.tree_of(manifest, lock, "poetry.lock", mode, files, site),
        version=POETRY_VERSION,
        packages=packages,
        extra_args=_text(layer.extra_args, site),
        secrets=_secrets(layer.secret_mounts, site),
    )


def _pixi_project(layer: PixiProject, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    manifest = Path(layer.manifest)
    if manifest.name not in ("pixi.toml", "pyproject.toml"):
        raise site.error(
            f"`{manifest}` is not called `pixi.toml` or `pyproject.toml`, and pixi reads no other manifest",
            hint="rename it, or name the project's folder",
        )
    credentials.refuse_conda(files.text(manifest, site), manifest, site)
    project = projects.toml(manifest, files, site)
    lock = Path(layer.pixi_lock) if layer.pixi_lock else None
    if lock:
        credentials.refuse_conda(files.text(lock, site), lock, site)
    mode = layer.project_install_mode
    packages = projects.pixi_packages(manifest, project, files, site)
    _refuse_far_above(packages, site)
    if mode == "install_project":
        packages = tuple(package for package in packages if package.path.startswith(".."))
    yield spec.PixiProject(
        manifest=manifest.name,
        environment=_environment(layer.environment, site),
        locked=lock is not None,
        tree=projects.tree_of(manifest, lock, "pixi.lock", mode, files, site),
        packages=packages,
        extra_args=_text(layer.extra_args, site),
        secrets=_secrets(layer.secret_mounts, site),
    )


def _refuse_far_above(packages: Iterable[spec.LocalPackage], site: Site) -> None:
    """Refuse packages of pixi's that would come upon what is there: they stay in the image, relative to the project."""
    for package in packages:
        place = posixpath.normpath(posixpath.join(PIXI_PROJECT, package.path))
        if posixpath.dirname(place) == "/" or place == VENV:
            raise site.error(
                f"it takes a package from `{package.path}`, which would be at `{place}` in the image, among what is "
                "not the project's",
                hint="move the package below the project or beside it",
            )


def _uv_script(layer: UVScript, image: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """What the script's header asks for, as the layers that install it."""
    script = Path(layer.script)
    header = scripts.metadata(script, files, site)
    scripts.check_python(header, image.python_version, script, site)
    options = scripts.uv_options(header, _options(layer, site), script, site)
    packages, found = scripts.dependencies(header, image.python_version, script, site)
    if packages:
        yield spec.PipPackages(_requirements(packages, site), options)
    if any(item.path.suffix != ".whl" for item in found):
        # Projects that take their version from their history need git to tell it.
        yield spec.AptPackages(("git",))
    for item in found:
        yield _local_project(item, options, files, site)


def _local_project(item: scripts.LocalProject, options: spec.PipOptions, files: HostFiles, site: Site) -> Part:
    """A project that is installed with what it needs, or a wheel with what it needs."""
    if item.path.suffix == ".whl":
        name = item.name or item.path.name.partition("-")[0]
        extras = f"[{','.join(item.extras)}]" if item.extras else ""
        return spec.Wheels(normalise.name(name) + extras, files.file(item.path, site), options)
    if normalise.is_archive(item.path.name):
        raise site.error(
            f"`{item.path}` is an archive of sources", hint="unpack it and name the folder, or name a wheel"
        )
    wanted = shlex.join(f"--extra={extra}" for extra in item.extras)
    options = replace(options, extra_args=f"{options.extra_args} {wanted}".strip())
    lock = item.path / "uv.lock"
    manifest = item.path / "pyproject.toml"
    return _uv(manifest, lock if lock.exists() else None, "install_project", options, files, site)


def _pixi_script(layer: PixiScript, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    scripts.metadata(Path(layer.script), files, site)
    try:
        manifest = sdk.pixi_manifest(layer)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # The SDK reads tables without looking whether they are any.
        known = str(error) if isinstance(error, ValueError) else f"`[tool.pixi]` of `{layer.script}` is malformed"
        raise site.error(
            known, hint="mend the script's `# /// script` block: its tables are those of pixi's manifest"
        ) from error
    if credentials.CONDA_TOKEN.search(manifest):
        raise site.error(f"`{layer.script}` has a URL with credentials", hint=credentials.CONDA_HINT)
    texts = {"pixi.toml": manifest}
    if layer.pixi_lock:
        texts["pixi.lock"] = files.text(layer.pixi_lock, site)
        credentials.refuse_conda(texts["pixi.lock"], layer.pixi_lock, site)
    yield spec.PixiProject(
        manifest="pixi.toml",
        environment=_environment(layer.environment, site),
        locked=layer.pixi_lock is not None,
        texts=tuple(texts.items()),
        extra_args=_text(layer.extra_args, site),
        secrets=_secrets(layer.secret_mounts, site),
    )


def _apt(layer: AptPackages, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    for package in layer.packages:
        _text(package, site)
        if not package or package.startswith("-") or re.search(r"\s", package):
            raise site.error(f"`{package}` is not the name of a Debian package", hint="give each package for itself")
    yield spec.AptPackages(tuple(layer.packages), _secrets(layer.secret_mounts, site))


def _commands(layer: Commands, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    secrets = _secrets(layer.secret_mounts, site)
    for text in layer.commands:
        command = _command(text, secrets, site)
        # Of an array what it says, however it is escaped.
        said = " ".join(command.args) or text
        _refuse_null(said, site)
        if CREDENTIALS.search(said):
            raise site.error("a command has a URL with credentials", hint="pass them with `secret_mounts`")
        yield command
        if text == _CREATE_FLYTE_USER_CMD:
            yield RunAs("flyte")


def _command(text: str, secrets: tuple[spec.Secret, ...], site: Site) -> spec.Command:
    """The forms that a Dockerfile's `RUN` knows: shell text, a JSON array without a shell, and a script as heredoc.

    Text of several lines is ours alone: the first one that fails ends it.
    """
    stripped = text.strip()
    if not stripped:
        raise site.error("a command is empty", hint="leave it out")
    if stripped.startswith("--"):
        raise site.error(
            f"`{stripped.split()[0]}` is an option of a Dockerfile's `RUN`, not a command",
            hint="use `secret_mounts` for secrets; uv's and apt's caches are mounted by their own layers",
        )
    if stripped.startswith("["):
        try:
            args = json.loads(stripped)
        except ValueError:
            args = None
        if isinstance(args, list) and args and all(isinstance(item, str) for item in args):
            return spec.Command(args=tuple(args), secrets=secrets)
    heredoc = _HEREDOC.match(text.lstrip())
    if heredoc:
        return spec.Command(_heredoc(heredoc, site), secrets=secrets)
    if _OTHER_HEREDOC.match(stripped):
        # A shell would read the lines, and do nothing with them.
        raise site.error(
            f"`{stripped.splitlines()[0]}` does not start a script that can be read",
            hint="write `<<EOF`, the lines of the script, and `EOF`",
        )
    if not is_one_instruction(f"RUN {stripped}"):
        # A Dockerfile can hold one line only. A shell would take the last one's success for that of all.
        text = spec.STRICT + text
    return spec.Command(text, secrets=secrets)


def _heredoc(match: re.Match[str], site: Site) -> str:
    """The script of `<<WORD … WORD`, which a Dockerfile runs instead of feeding it to a command."""
    lines = []
    remaining = iter(match["body"].split("\n"))
    for line in remaining:
        line = line.lstrip("\t") if match["dash"] else line
        if line == match["word"]:
            break
        lines.append(line)
    else:
        raise site.error(
            f"the script that starts with `<<{match['word']}` does not end with `{match['word']}`",
            hint="the last line is that word, and nothing else",
        )
    if after := next(filter(str.strip, remaining), ""):
        raise site.error(
            f"`{after.strip()}` comes after the end of the script that starts with `<<{match['word']}`",
            hint="give it as a command of its own",
        )
    if lines and lines[0].startswith("#!"):
        raise site.error(
            f"a script for `{lines[0][2:].strip()}` cannot be run from a heredoc",
            hint="copy the script with `with_source_file` and run it by its path",
        )
    return "\n".join(lines)


def _env(layer: Env, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    for name, value in layer.env_vars:
        if not _NAME.fullmatch(name):
            raise site.error(
                f"`{name}` is not the name of an environment variable", hint="it must not hold `=` or blanks"
            )
        if not isinstance(value, str):
            raise site.error(f"the value of `{name}` is a `{type(value).__name__}`", hint="write it as a string")
        _refuse_null(value, site)
        if CREDENTIALS.search(value):
            raise site.error(
                f"the value of `{name}` is a URL with credentials", hint="use a `flyte.Secret` of the task"
            )
    yield SetEnv(tuple(layer.env_vars))


def _workdir(layer: WorkDir, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    _refuse_null(layer.workdir, site)
    if not layer.workdir.strip():
        raise site.error("the working directory is empty", hint="write `/` for the root folder")
    yield SetWorkDir(layer.workdir)


def _copy(layer: CopyConfig, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    source, destination = Path(layer.src), layer.dst or "."
    _refuse_null(destination, site)
    if layer.path_type == 0:
        into = destination.endswith(("/", "/.", "/..")) or destination in (".", "..")
        yield spec.Copy(files.file(source, site), destination, into, OWNER, shown(source.name))
    else:
        yield spec.Copy(files.folder(source, site), destination, True, OWNER, shown(source.name))


def _code_bundle(layer: CodeBundleLayer, _: flyte.Image, files: HostFiles, site: Site) -> Iterator[Part]:
    """A bundle that the SDK resolved; an unresolved one is for runs that bring their code along, and adds nothing."""
    if layer.root_dir is None:
        return
    root = Path(layer.root_dir)
    tree = files.folder(root, site) if layer.copy_style == "all" else files.bundle(root, site)
    yield spec.Copy(tree, layer.dst or ".", True, OWNER, "code bundle")


def _docker_ignore(_: DockerIgnore, __: flyte.Image, ___: HostFiles, ____: Site) -> Iterator[Part]:
    """Taken into account for the whole image (`images.define`); nothing of its own."""
    return iter(())


def _docker_lines(layer: _DockerLines, _: flyte.Image, __: HostFiles, site: Site) -> Iterator[Part]:
    for line in layer.lines:
        yield from settings(line, site)


def _options(layer: PipOption, site: Site) -> spec.PipOptions:
    urls = (given,) if isinstance(given := layer.extra_index_urls, str) else tuple(given or ())
    for url in (layer.index_url or "", *urls):
        _text(url, site)
    return spec.PipOptions(
        index_url=layer.index_url or "",
        extra_index_urls=urls,
        pre=bool(layer.pre),
        extra_args=_text(layer.extra_args, site),
        secrets=_secrets(layer.secret_mounts, site),
    )


def _requirements(texts: Sequence[str], site: Site) -> tuple[str, ...]:
    for text in texts:
        _text(text, site)
        if not normalise.is_requirement(text) and not _RAW.search(text):
            raise site.error(
                f"`{text}` is not a requirement",
                hint="write it like `name`, `name==1.2`, `name[extra]>=1` or `name @ URL`",
            )
    return normalise.requirements(texts)


def _secrets(secrets: Iterable[str | flyte.Secret] | None, site: Site) -> tuple[spec.Secret, ...]:
    """Secrets by what they do to a step: `"KEY"` and `Secret(key="KEY")` are the same."""
    found = []
    for item in secrets or ():
        secret = flyte.Secret(key=item) if isinstance(item, str) else item
        group, target = secret.group or "", str(secret.mount) if secret.mount else ""
        if target and not target.startswith("/"):
            raise site.error(
                f"the secret `{secret.key}` is mounted at `{target}`, which is not an absolute path",
                hint="start the path with `/`",
            )
        if target:
            found.append(spec.Secret(group, secret.key, target=target))
        if secret.as_env_var or not target:
            name = secret.as_env_var or "_".join(filter(None, (group, secret.key)))
            found.append(spec.Secret(group, secret.key, env=name))
    _refuse_shared(found, site)
    return tuple(sorted(set(found)))


def _refuse_shared(secrets: Sequence[spec.Secret], site: Site) -> None:
    """Refuse two secrets in one place, of which the step would see one."""
    known: dict[str, spec.Secret] = {}
    for secret in secrets:
        first = known.setdefault(secret.target or secret.env, secret)
        if first != secret:
            where = f"mounted at `{secret.target}`" if secret.target else f"given as `{secret.env}`"
            raise site.error(
                f"two secrets, `{first.key}` and `{secret.key}`, are {where}, where only one can be",
                hint="give each a place of its own: a `mount`, or an `as_env_var`",
            )


def _environment(name: str, site: Site) -> str:
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise site.error(
            f"`{name}` is not the name of a pixi environment", hint="it has small letters, digits and hyphens"
        )
    return name


def _text(text: str | None, site: Site) -> str:
    _refuse_null(text or "", site)
    if text and CREDENTIALS.search(text):
        raise site.error("a URL holds credentials, which would end up in the image's history", hint=CREDENTIALS_HINT)
    return text or ""


def _refuse_null(text: str, site: Site) -> None:
    if "\0" in text:
        raise site.error("a text has a null character, which no process can be given", hint="leave it out")


_KINDS: dict[type[Layer], Any] = {
    PipPackages: _pip,
    Requirements: _requirements_file,
    PythonWheels: _wheels,
    UVProject: _uv_project,
    PoetryProject: _poetry_project,
    PixiProject: _pixi_project,
    UVScript: _uv_script,
    PixiScript: _pixi_script,
    AptPackages: _apt,
    Commands: _commands,
    Env: _env,
    WorkDir: _workdir,
    CopyConfig: _copy,
    CodeBundleLayer: _code_bundle,
    DockerIgnore: _docker_ignore,
    _DockerLines: _docker_lines,
}

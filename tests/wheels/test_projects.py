"""What is locked of a project is what `uv sync` installs of it: every choice is installed for real, and compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from blake3 import blake3
from msgspec.structs import replace

from flytebuild.errors import DefinitionError, SourceChangedError
from flytebuild.spec.layers import PipOptions, PipPackages, UvProject
from flytebuild.spec.model import HostFolder
from flytebuild.spec.tree import assemble
from flytebuild.wheels.arguments import NotLockableError
from flytebuild.wheels.base import Base
from flytebuild.wheels.complaints import failure
from flytebuild.wheels.environment import Installed
from flytebuild.wheels.lock import Lock
from tests.samples import file_entry
from tests.wheels.desk import HERE, Desk
from tests.wheels.index import Index, served

MANIFEST = """
[project]
name = "ours"
version = "1"
requires-python = ">=3.10"
dependencies = ["aa", "gone; python_version < '3'", "extra[more]; sys_platform == 'linux'", "gone; os_name == 'nt'"]

[project.optional-dependencies]
early = ["early>=2.0b1"]
plain = ["plain"]

[dependency-groups]
dev = ["bb<2"]
test = ["capped", {{ include-group = "dev" }}]

[[tool.uv.index]]
url = "{url}"
default = true
"""


@dataclass(frozen=True)
class Project:
    """A project in a folder, and its lock."""

    folder: Path

    def layer(self, extra_args: str = "") -> tuple[UvProject, Mapping[str, HostFolder]]:
        """The layer, and where its files are."""
        files = (self.folder / name for name in ("pyproject.toml", "uv.lock"))
        entries = [file_entry(file.name, blake3(file.read_bytes()).hexdigest(), file.stat().st_size) for file in files]
        tree = assemble(entries)
        layer = UvProject("dependencies_only", tree, locked=True, options=PipOptions(extra_args=extra_args))
        return layer, {tree.digest: HostFolder(str(self.folder))}

    def with_text(self, place: Path, *changes: tuple[str, str], name: str = "pyproject.toml") -> Project:
        """The same elsewhere, with other text in one of its files."""
        place.mkdir(parents=True, exist_ok=True)
        for file in ("pyproject.toml", "uv.lock"):
            text = (self.folder / file).read_text()
            for before, after in changes if file == name else ():
                assert before in text
                text = text.replace(before, after)
            (place / file).write_text(text)
        return Project(place)

    def lock(self, desk: Desk, extra_args: str = "", base: Base = HERE) -> Lock:
        """What is locked of it, alone in an image."""
        layer, roots = self.layer(extra_args)
        return desk.lock(layer, roots=roots, base=base)

    def reason(self, desk: Desk, extra_args: str = "", base: Base = HERE) -> str:
        """Why nothing is."""
        (entry,) = self.lock(desk, extra_args, base).unlocked
        return entry.reason


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with served(tmp_path_factory.mktemp("index")) as found:
        for version in ("1.0", "1.5", "2.0"):
            found.add("common", version)
        found.add("aa", "1.0", "common<2")
        found.add("bb", "1.0", "common")
        found.add("capped", "1.0", "common<1.2")
        found.add("early", "2.0b1")
        found.add("extra", "1.0", "leaf; extra == 'more'")
        for name in ("gone", "leaf", "plain"):
            found.add(name, "1.0")
        yield found


@pytest.fixture(scope="module")
def desk(index: Index, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(index, tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def project(desk: Desk, index: Index) -> Project:
    return made(desk, desk.folder / "project", MANIFEST.format(url=index.url))


def made(desk: Desk, folder: Path, manifest: str) -> Project:
    """A project that uv has locked."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(manifest)
    desk.run(["lock", "--project", str(folder)], {name: desk.environ[name] for name in ("PATH", "HOME")})
    return Project(folder)


CHOICES = {
    "": {"aa", "common", "extra", "leaf", "bb"},
    "--no-dev": {"aa", "common", "extra", "leaf"},
    "--no-default-groups --group test": {"aa", "common", "extra", "leaf", "capped", "bb"},
    "--only-group=test": {"bb", "capped", "common"},
    "--all-extras --no-extra early --frozen": {"aa", "common", "extra", "leaf", "bb", "plain"},
    "--extra early --all-groups --no-group dev -q": {"aa", "common", "extra", "leaf", "early", "capped", "bb"},
}


@pytest.mark.parametrize("text", CHOICES)
def test_what_is_chosen_is_what_is_installed(text: str, desk: Desk, project: Project) -> None:
    layer, roots = project.layer(text)
    lock = desk.lock(layer, roots=roots)
    assert lock.unlocked == ()
    found = desk.versions(lock, [layer])
    assert found.keys() == CHOICES[text]
    assert found == desk.install([layer], roots)


def test_what_is_there_already_is_left_alone_or_replaced(desk: Desk, project: Project) -> None:
    layer, roots = project.layer("--no-dev")
    layers: list[PipPackages | UvProject] = [desk.layer("common==1.5", "leaf==1.0", "plain"), layer]
    lock = desk.lock(*layers, roots=roots)
    (locked,) = (item for item in lock.layers if item.asked == layer.summary)
    assert [(pin.name, pin.version) for pin in locked.pins] == [("aa", "1.0"), ("common", "1.0"), ("extra", "1.0")]
    assert locked.replaces == ("common",)
    assert locked.where == ("--default-index", desk.index.url)
    assert desk.versions(lock, layers) == desk.install(layers, roots)
    # What is on top of it knows what it has installed.
    above = desk.lock(layer, desk.layer("bb", "leaf"), roots=roots)
    assert {layer.asked: [pin.name for pin in layer.pins] for layer in above.layers}["pip: bb, leaf"] == ["bb"]


def test_a_package_of_the_base_that_is_from_no_index_is_not_taken_for_the_same(desk: Desk, project: Project) -> None:
    metadata = "Metadata-Version: 2.1\nName: leaf\nVersion: 1.0\n"
    leaf = Installed("leaf", "1.0", metadata, ("py3-none-any",))
    (locked,) = project.lock(desk, base=replace(HERE, installed=(leaf,))).layers
    assert "leaf" not in {pin.name for pin in locked.pins}
    base = replace(HERE, installed=(replace(leaf, is_direct=True),))
    assert project.reason(desk, base=base) == "`leaf` of its base is from no index"
    assert "is not a folder of root's" in project.reason(desk, base=replace(HERE, odd=("/opt/venv",)))


def test_a_lock_of_something_else_is_an_error(desk: Desk, project: Project, tmp_path: Path) -> None:
    newer = project.with_text(tmp_path, ('"aa"', '"aa>=1.0"'))
    with pytest.raises(
        DefinitionError, match=r"`uv project: dependencies` \(main.py:1\) cannot be locked: its `uv.lock`"
    ):
        newer.lock(desk)
    assert newer.lock(desk, "--frozen").unlocked == (), "nobody looks"
    with pytest.raises(DefinitionError) as caught:
        project.lock(desk, "--extra none")
    assert "`none`" in caught.value.details
    layer, roots = newer.layer()
    (tmp_path / "uv.lock").write_text("")
    with pytest.raises(SourceChangedError):
        desk.lock(layer, roots=roots)


SETTINGS = {
    'no-binary-package = ["aa"]': "what its setting `no-binary-package` does is known only while the image is built",
    'required-version = ">=0.1"': "what its setting `required-version` does",
    '[[tool.uv.index]]\nurl = "https://me:pw@i/f"\nformat = "flat"': "`https://i/f` is no index but a list of files",
}


@pytest.mark.parametrize("text", SETTINGS)
def test_settings_that_do_more_than_decide_the_lock(text: str, desk: Desk, project: Project, tmp_path: Path) -> None:
    setting = text if text.startswith("[") else f"[tool.uv]\n{text}"
    other = project.with_text(tmp_path, ("[[tool.uv.index]]", f"{setting}\n[[tool.uv.index]]"))
    assert SETTINGS[text] in other.reason(desk)


def test_pythons_that_a_project_is_not_for(desk: Desk, project: Project, tmp_path: Path) -> None:
    later = project.with_text(tmp_path, (">=3.10", ">=3.99")).with_text(tmp_path, (">=3.10", ">=3.99"), name="uv.lock")
    for words in ((), ("--frozen",)):
        assert later.reason(desk, *words) == f"it wants Python >=3.99, and this image has {HERE.python}"


@pytest.mark.parametrize(
    ("complaint", "python"),
    [
        ("error: No interpreter found for Python >=3.99 in managed installations or search path", ">=3.99"),
        # What pyenv has in the place of versions that another project uses.
        ("error: Querying Python failed\n\n[stderr]\npyenv: python3.99: command not found", "3.99"),
    ],
)
def test_pythons_that_this_machine_lacks(complaint: str, python: str) -> None:
    error = failure(complaint, 2)
    assert isinstance(error, NotLockableError)
    assert str(error) == f"only Python {python}, which this machine lacks, can tell whether its lock is right"


def test_what_is_no_wheel_of_an_index(desk: Desk, index: Index, project: Project, tmp_path: Path) -> None:
    unbuilt = project.with_text(tmp_path / "unbuilt", ('dependencies = ["aa', 'dynamic = ["dependencies"]\nx = ["aa'))
    assert unbuilt.reason(desk) == "what `ours` needs is known only once it is built"

    url = f"{index.url}/leaf/leaf-1.0-py3-none-any.whl"
    direct = made(desk, tmp_path / "direct", MANIFEST.format(url=index.url).replace('"aa"', f'"leaf @ {url}"'))
    assert direct.reason(desk) == "its package `leaf` comes from a URL"

    text = MANIFEST.format(url=index.url).replace('"aa"', "\"aa; platform_release > '1'\"")
    kernel = made(desk, tmp_path / "kernel", text)
    assert kernel.reason(desk) == "whether it needs `aa` is known only where it runs"

    index.files["source"] = {"source-1.0.tar.gz": b"of no use"}
    known = '[[tool.uv.dependency-metadata]]\nname = "source"\nversion = "1.0"\n'
    source = made(desk, tmp_path / "source", MANIFEST.format(url=index.url).replace('"aa"', '"source"') + known)
    assert source.reason(desk) == "there is no wheel of `source` for this Python and platform"

    closed = project.with_text(tmp_path / "closed", ("/simple", "/private"))
    closed = closed.with_text(tmp_path / "closed", ("/simple", "/private"), name="uv.lock")
    assert closed.reason(desk) == "`127.0.0.1` wants credentials"


def test_versions_that_several_indexes_have(desk: Desk, tmp_path: Path) -> None:
    """A step asks all of them, and takes the first that has a version."""
    with served(tmp_path / "one") as one, served(tmp_path / "other") as other:
        one.add("aa", "1.0", "leaf")
        one.add("bb", "1.0", "leaf")
        one.add("leaf", "1.0")
        other.add("aa", "1.0")
        other.add("bb", "1.0")
        other.add("cc", "1.0")
        text = (
            '[project]\nname = "ours"\nversion = "1"\nrequires-python = ">=3.10"\n'
            'dependencies = ["{from_other}", "{from_one}"]\n'
            f'[[tool.uv.index]]\nname = "other"\nurl = "{other.url}"\nexplicit = true\n'
            f'[[tool.uv.index]]\nurl = "{one.url}"\ndefault = true\n'
            '[tool.uv.sources]\n{from_other} = {{ index = "other" }}\n'
        )
        plain = made(desk, tmp_path / "plain", text.format(from_other="cc", from_one="leaf"))
        (locked,) = plain.lock(desk).layers
        assert [pin.url.split("/")[2] for pin in locked.pins] == [other.address, one.address]
        first, second = sorted((one.url, other.url))
        strategy = ("--index-strategy", "unsafe-best-match")
        assert locked.where == ("--default-index", first, "--index", second, *strategy)
        both = made(desk, tmp_path / "both", text.format(from_other="bb", from_one="aa"))
        assert both.reason(desk) == "its indexes have other files of the same versions as well, or want credentials"


def test_settings_of_the_host_s_change_nothing(desk: Desk, project: Project, tmp_path: Path) -> None:
    settings = tmp_path / "uv" / "uv.toml"
    settings.parent.mkdir()
    settings.write_text('prerelease = "allow"\n')
    places = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path)}
    assert project.lock(dataclasses.replace(desk, more=places)) == project.lock(desk)

"""Pairs of images that must not share a digest, and pairs that must.

The first are what a tag over joined texts mistakes for one another; the second what it takes for different though no
container could tell. Each test is written with the SDK's own API, on real files.
"""

import asyncio
import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flyte
import pytest
from flyte import Secret
from flyte._image import PythonWheels, resolve_code_bundle_layer
from msgspec.structs import replace

from flytebuild.authoring.images import Reader
from flytebuild.build.labels import labels
from flytebuild.build.registry_store import RegistryStore
from flytebuild.errors import UnsupportedImageError
from flytebuild.facts import Absent, Present, Unknown
from flytebuild.graph import EnvironmentNode
from flytebuild.plan import Observation, make_plan, references
from flytebuild.registry.client import RegistryClient
from flytebuild.registry.reference import parse
from flytebuild.spec.digests import digests
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers import EMITTERS
from flytebuild.spec.model import ImageSpec
from flytebuild.spec.prefix import UV_IMAGE
from flytebuild.trees.statcache import StatCache
from tests.authoring.meaning import differ, extendable, meaning, same, specs
from tests.loopback import publish, registry
from tests.samples import AMD64, ARM64, definition, made_of, pip, spec

I = extendable  # noqa: E741 - what every line below starts from
URL = "https://i.example/simple"


def folder(at: Path, files: Mapping[str, str] | None = None) -> Path:
    """A folder with these files, by path."""
    at.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {}).items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return at


class TestDiffer:
    """What reaches the image, or decides what does, is in the digest."""

    def test_boundaries_between_packages(self) -> None:
        differ(I().with_pip_packages("ab", "c"), I().with_pip_packages("a", "bc"), I().with_pip_packages("abc"))
        differ(I().with_pip_packages("torch", "vision"), I().with_pip_packages("torchvision"))

    def test_kinds_of_layers(self) -> None:
        differ(
            I().with_apt_packages("curl"),
            I().with_pip_packages("curl"),
            I().with_commands(["curl"]),
            I().with_workdir("curl"),
            I().with_env_vars({"curl": ""}),
            I(),
        )

    def test_structure_of_layers(self) -> None:
        differ(I().with_pip_packages("a").with_pip_packages("b"), I().with_pip_packages("a", "b"))
        differ(I().with_workdir("/a").with_workdir("b"), I().with_workdir("/ab"))
        differ(I().with_commands(["echo a", "b"]), I().with_commands(["echo ab"]))

    def test_layers_without_content(self) -> None:
        differ(I().with_pip_packages(), I())
        differ(I().with_apt_packages(), I())

    def test_options_and_packages(self) -> None:
        differ(I().with_pip_packages("p", index_url=URL), I().with_pip_packages("p", extra_index_urls=[URL]))
        differ(I().with_pip_packages("p", pre=True), I().with_pip_packages("Truep"))
        differ(I().with_pip_packages("p", extra_args="--no-deps"), I().with_pip_packages("--no-depsp"))

    def test_base_and_first_layer(self) -> None:
        one = I("r.example/base:1").with_pip_packages("0", "z")
        differ(one, I("r.example/base:10").with_pip_packages("z"))

    def test_python_version(self) -> None:
        differ(I(python_version=(3, 11)), I(python_version=(3, 13)))
        differ(
            I(python_version=(3, 11)).with_pip_packages("a"),
            I(python_version=(3, 13)).with_pip_packages("a"),
        )

    def test_tools_and_translation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        image = I().with_pip_packages("a")
        before = meaning(image)
        differ(before, meaning(image, moved={UV_IMAGE: "another"}))
        monkeypatch.setitem(EMITTERS, "pip", EMITTERS["pip"] + 1)
        differ(before, meaning(image))

    def test_a_base_that_moved_behind_its_tag(self) -> None:
        image = I().with_pip_packages("a")
        differ(meaning(image), meaning(image, moved={"r.example/base:1": "another"}))

    def test_the_executable_bit(self, tmp_path: Path) -> None:
        source = folder(tmp_path / "src", {"run.sh": "true"})
        files = [I().with_source_folder(source), I().with_source_file(source / "run.sh")]
        (source / "run.sh").chmod(0o644)
        before = [meaning(image) for image in files]
        (source / "run.sh").chmod(0o755)
        for image, plain in zip(files, before, strict=True):
            differ(plain, image)

    def test_slashes_in_paths(self, tmp_path: Path) -> None:
        one, other = folder(tmp_path / "1", {"a/bc": "x"}), folder(tmp_path / "2", {"ab/c": "x"})
        differ(*(I().with_source_folder(path, "/d") for path in (one, other)))

    def test_where_a_path_ends_and_content_begins(self, tmp_path: Path) -> None:
        for number, (one, other) in enumerate([({"c": "ab"}, {"bc": "a"}), ({"a": "1", "b": "2"}, {"a2b": "1"})]):
            sources = folder(tmp_path / f"{number}a", one), folder(tmp_path / f"{number}b", other)
            differ(*(I().with_source_folder(path, "/d") for path in sources))

    def test_file_name_and_destination(self, tmp_path: Path) -> None:
        source = folder(tmp_path, {"a": "x", "ab": "x"})
        one = I().with_source_file(source / "a", dst="bc/")
        differ(one, I().with_source_file(source / "ab", dst="c/"), I().with_source_file(source / "a", dst="bc"))

    @pytest.mark.parametrize("where", ["src", "."])
    def test_an_ignore_file_that_does_not_count(self, tmp_path: Path, where: str) -> None:
        """Only the patterns of `with_dockerignore`, or of the file in Flyte's root folder, leave anything out."""
        source = folder(tmp_path / "src", {"data.bin": "1", "main.py": ""})
        folder(tmp_path / where, {".dockerignore": "data.bin\nsrc/data.bin\n"})
        image = I().with_source_folder(source)
        before = meaning(image)
        folder(source, {"data.bin": "2"})
        differ(before, image)

    def test_patterns_are_relative_to_what_is_copied(self, tmp_path: Path) -> None:
        source = folder(tmp_path / "src", {"data.bin": "1", "main.py": ""})
        patterns = folder(tmp_path, {".dockerignore": "src/data.bin\n"}) / ".dockerignore"
        image = I().with_source_folder(source).with_dockerignore(patterns)
        before = meaning(image)
        folder(source, {"data.bin": "2"})
        differ(before, image)
        folder(tmp_path, {".dockerignore": "data.bin\n"})
        ignored = meaning(image)
        folder(source, {"data.bin": "3"})
        same(ignored, image)

    def test_the_source_of_an_editable_dependency(self, tmp_path: Path) -> None:
        project = uv_project(tmp_path, editable="lib")
        image = I().with_uv_project(project / "pyproject.toml")
        before = meaning(image)
        folder(tmp_path, {"lib/lib/__init__.py": "x = 2"})
        differ(before, image)

    def test_wheels(self, tmp_path: Path) -> None:
        folders = [
            folder(tmp_path / "1", {"a-1-py3-none-any.whl": "x"}),
            folder(tmp_path / "2", {"a-2-py3-none-any.whl": "x"}),
            folder(tmp_path / "3", {"a-1-py3-none-any.whl": "y"}),
        ]
        wheels = [wheel_layer(path, "a") for path in folders]
        differ(*wheels, wheel_layer(folders[0], "b"))
        # The build sees wheels only, so what else lies there reaches nothing.
        before = meaning(wheels[0])
        folder(folders[0], {"a-3.tar.gz": "z"})
        same(before, wheels[0])

    def test_pixi_manifests_and_environments(self, tmp_path: Path) -> None:
        text = '[workspace]\nname = "p"\nchannels = []\nplatforms = ["linux-64"]\n[tool.pixi.workspace]\n'
        files = folder(tmp_path, {"pixi.toml": text, "pyproject.toml": text})
        differ(*(I().with_pixi_project(files / name) for name in ("pixi.toml", "pyproject.toml")))
        one = I().with_pixi_project(files / "pixi.toml", environment="a", extra_args="b")
        differ(one, I().with_pixi_project(files / "pixi.toml", environment="ab"))

    def test_the_context_of_a_dockerfile(self, tmp_path: Path) -> None:
        context = folder(tmp_path, {"Dockerfile": "FROM r.example/base:1\nCOPY data /\n", "data": "1"})
        image = flyte.Image.from_dockerfile(context / "Dockerfile", "r.example", "x")
        before = meaning(image)
        folder(context, {"data": "2"})
        changed = meaning(image)
        differ(before, changed, meaning(image, moved={"r.example/base:1": "another"}))
        folder(context, {"Dockerfile": "FROM r.example/base:1\nCOPY data /x\n"})
        differ(changed, image)

    def test_platforms(self) -> None:
        platforms = ("linux/amd64",), ("linux/arm64",), ("linux/amd64", "linux/arm64")
        differ(*(I(platform=platform).with_pip_packages("a") for platform in platforms))

    def test_a_file_that_was_edited_in_the_same_process(self, tmp_path: Path) -> None:
        """No layer remembers what it read, also where size and modification time stay."""
        script = '# /// script\n# dependencies = ["{}"]\n# ///\n'
        files = folder(tmp_path, {"r.txt": "a1", "s.py": script.format("a1"), "f.txt": "a1"})
        made = [
            I().with_requirements(files / "r.txt"),
            I().with_source_file(files / "f.txt"),
            I().with_source_folder(files),
            flyte.Image.from_uv_script(files / "s.py", name="x"),
            flyte.Image.from_pixi_script(files / "s.py", name="x"),
        ]
        before = [meaning(image) for image in made]
        for name, text in (("r.txt", "a2"), ("f.txt", "a2"), ("s.py", script.format("a2"))):
            status = (files / name).stat()
            (files / name).write_text(text)
            os.utime(files / name, ns=(status.st_atime_ns, status.st_mtime_ns))
        for image, old in zip(made, before, strict=True):
            differ(old, image)

    def test_the_stat_cache_sees_a_rename_that_keeps_size_and_time(self, tmp_path: Path) -> None:
        source = folder(tmp_path / "src", {"data": "1"})
        os.utime(source / "data", (1, 1))
        image = I().with_source_folder(source)
        with StatCache.open(tmp_path / "cache.sqlite") as cache:
            before = Reader(cache).define(image, "env")
            folder(tmp_path, {"other": "2"})
            os.utime(tmp_path / "other", (1, 1))
            (tmp_path / "other").rename(source / "data")
            assert Reader(cache).define(image, "env") != before

    def test_equal_names_in_different_folders(self, tmp_path: Path) -> None:
        files = folder(tmp_path, {"r.txt": "a", "sub/r.txt": "b"})
        one = I().with_requirements(files / "r.txt")
        differ(
            one.with_requirements(files / "sub/r.txt"),
            one.with_requirements(files / "r.txt"),
            I().with_requirements(files / "sub/r.txt").with_requirements(files / "r.txt"),
        )

    def test_modules_of_a_code_bundle(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A module that moves to another package keeps its name and its content."""
        found = []
        for package in ("pair_a", "pair_b"):
            root = folder(tmp_path / package, {f"{package}/__init__.py": "", f"{package}/u.py": "x = 1"})
            monkeypatch.syspath_prepend(str(root))
            __import__(f"{package}.u")
            bundled = I().with_code_bundle()
            found.append(resolve_code_bundle_layer(bundled, "none", root))
        differ(*found, I())

    def test_files_that_md5_takes_for_one(self, tmp_path: Path) -> None:
        """The pair of Wang, Feng, Lai and Yu (2004)."""
        one, other = (bytes.fromhex(text) for text in MD5_PAIR)
        assert hashlib.md5(one).digest() == hashlib.md5(other).digest()
        for name, content in (("a", one), ("b", other)):
            folder(tmp_path / name)
            (tmp_path / name / "f").write_bytes(content)
        differ(*(I().with_source_file(tmp_path / name / "f") for name in "ab"))

    def test_order(self) -> None:
        """What comes first decides what a resolver prefers, and what later steps find."""
        differ(I().with_pip_packages("a", "b"), I().with_pip_packages("b", "a"))
        differ(I().with_pip_packages("a", "b", "a<2"), I().with_pip_packages("a<2", "a", "b"))
        differ(I().with_apt_packages("a", "b-"), I().with_apt_packages("b-", "a"))
        differ(I().with_commands(["a", "b"]), I().with_commands(["b", "a"]))
        one, other = [URL, "https://j.example/simple"], ["https://j.example/simple", URL]
        differ(*(I().with_pip_packages("a", extra_index_urls=urls) for urls in (one, other)))
        differ(
            I().with_pip_packages("a").with_apt_packages("b"),
            I().with_apt_packages("b").with_pip_packages("a"),
        )

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("x==1.0", "x==1.0.0"),
            ("x==1.*", "x==1"),
            ("x===1.0", "x==1.0"),
            ("x==1.0+local", "x==1.0"),
            ("x>=1", "x>1"),
            ("x[a]", "x"),
            ("x[a]", "x[b]"),
            ("x ; python_version < '3.12'", "x"),
            ("x ; python_version < '3.12' and os_name == 'nt'", "x ; os_name == 'nt' and python_version < '3.12'"),
            ("x @ https://e.example/x.whl", "x @ https://E.example/x.whl"),
            ("x @ https://e.example/x.whl", "x @ https://e.example/x.whl#sha256=ab"),
            ("git+https://e.example/X", "git+https://e.example/x"),
            ("./X", "./x"),
            ('x<2 ; os_name == "a\'b"', 'x<2 ; os_name == "ab"'),
        ],
    )
    def test_requirements_that_only_look_alike(self, one: str, other: str) -> None:
        differ(I().with_pip_packages(one), I().with_pip_packages(other))

    def test_texts_that_are_not_ours_to_tidy(self) -> None:
        differ(*(I().with_commands([text]) for text in ("a b", "a  b", "a b ", " a b", "a b\n", "A b", "a b\r")))
        differ(
            *(I().with_pip_packages("a", extra_args=text) for text in ("-U --no-deps", "--no-deps -U", "-U  --no-deps"))
        )
        differ(I().with_commands(['["a", "b"]']), I().with_commands(["a b"]))
        differ(I().with_commands(['["a b"]']), I().with_commands(['["a", "b"]']))

    def test_bytes_of_files_are_not_ours_to_tidy(self, tmp_path: Path) -> None:
        files = [
            folder(tmp_path / str(number), {"r.txt": text}) / "r.txt"
            for number, text in enumerate(["a\n", "a", "#c\na\n"])
        ]
        (tmp_path / "crlf").mkdir()
        (tmp_path / "crlf/r.txt").write_bytes(b"a\r\n")
        files.append(tmp_path / "crlf/r.txt")
        differ(*(I().with_requirements(path) for path in files))
        differ(*(I().with_source_file(path) for path in files))

    def test_environment(self) -> None:
        differ(I().with_env_vars({"A": "1", "B": "$A"}), I().with_env_vars({"B": "$A", "A": "1"}))
        differ(I().with_env_vars({"A": "b c"}), I().with_env_vars({"A": "b", "c": ""}))
        differ(I().with_env_vars({"A": "1 B=2"}), I().with_env_vars({"A": "1", "B": "2"}))
        differ(I().with_env_vars({"A": "$B"}), I().with_env_vars({"A": "\\$B"}))
        differ(
            I().with_env_vars({"A": "1"}).with_pip_packages("a"),
            I().with_pip_packages("a").with_env_vars({"A": "1"}),
        )
        differ(I().with_env_vars({"self": "1"}), I().with_env_vars({"self": "2"}))

    def test_trees(self, tmp_path: Path) -> None:
        made = {
            name: folder(tmp_path / name, {"f": "x"}) for name in ("plain", "link", "dir", "target", "hidden", "deep")
        }
        (made["link"] / "l").symlink_to("f")
        (made["target"] / "l").symlink_to("./f")
        (made["dir"] / "l").mkdir()
        (made["hidden"] / ".l").mkdir()
        folder(made["deep"], {"l/f": "x"})
        differ(*(I().with_source_folder(path, "/d") for path in made.values()))
        differ(I().with_source_folder(made["plain"], "/d"), I().with_source_file(made["plain"] / "f", "/d"))

    def test_names_that_are_spelt_alike(self, tmp_path: Path) -> None:
        one, other = folder(tmp_path / "1", {"\u00e9": "x"}), folder(tmp_path / "2", {"e\u0301": "x"})
        raw = folder(tmp_path / "3")
        with open(os.fsencode(raw) + b"/\xe9", "w") as file:
            file.write("x")
        differ(*(I().with_source_folder(path, "/d") for path in (one, other, raw)))

    def test_secrets(self) -> None:
        secrets = [
            Secret("TOK"),
            Secret("TOK", group="g"),
            Secret("OTHER"),
            Secret("TOK", as_env_var="X"),
            Secret("TOK", mount=Path("/etc/flyte/secrets")),
            Secret("g_TOK", as_env_var="G_TOK"),
        ]
        differ(*(I().with_pip_packages("a", secret_mounts=[secret]) for secret in secrets), I().with_pip_packages("a"))


class TestSame:
    """What does not reach the image moves no digest."""

    def test_the_order_in_which_files_were_made(self, tmp_path: Path) -> None:
        names = ["b/x", "a/x", "c", "a/b/c"]
        sources = [tmp_path / "1", tmp_path / "2"]
        for source, ordered in zip(sources, (names, names[::-1]), strict=True):
            for name in ordered:
                folder(source, {name: name})
        same(*(I().with_source_folder(path, "/d") for path in sources))

    def test_the_order_in_which_wheels_were_made(self, tmp_path: Path) -> None:
        names = ["b-1-py3-none-any.whl", "a-1-py3-none-any.whl"]
        one = folder(tmp_path / "1", dict.fromkeys(names, "x"))
        same(wheel_layer(one, "a"), wheel_layer(folder(tmp_path / "2", dict.fromkeys(names[::-1], "x")), "A"))

    def test_spellings_of_a_secret(self) -> None:
        spellings: list[Any] = [
            "TOK",
            ["TOK"],
            Secret("TOK"),
            [Secret(key="TOK"), "TOK"],
            Secret("TOK", as_env_var="TOK"),
        ]
        same(*(I().with_pip_packages("a", secret_mounts=spelling) for spelling in spellings))
        same(*(I().with_commands(["a"], secret_mounts=["A", "B"][::step]) for step in (1, -1)))

    def test_the_name_of_an_ignore_file(self, tmp_path: Path) -> None:
        source = folder(tmp_path / "src", {"data.bin": "1", "main.py": ""})
        names = ["my.dockerignore", ".dockerignore", "other"]
        for name in names:
            (tmp_path / name).write_text("data.bin\n")
        same(*(I().with_source_folder(source).with_dockerignore(tmp_path / name) for name in names))

    def test_what_an_ignore_file_says_besides(self, tmp_path: Path) -> None:
        source = folder(tmp_path / "src", {"data.bin": "1", "main.py": ""})
        patterns = folder(tmp_path, {"ignore": "data.bin"}) / "ignore"
        image = I().with_source_folder(source).with_dockerignore(patterns)
        before = meaning(image)
        folder(tmp_path, {"ignore": "# what we do not ship\n/data.bin \nno-such-file\n"})
        same(before, image)
        same(I().with_pip_packages("a"), I().with_pip_packages("a").with_dockerignore(patterns))

    def test_what_is_in_no_image(self, tmp_path: Path) -> None:
        """Folders without what was ignored, without it having been there."""
        one, other = folder(tmp_path / "1", {"a": "x", "b.pyc": "y"}), folder(tmp_path / "2", {"a": "x"})
        folder(one, {"__pycache__/a.pyc": "z", ".flyte/config.yaml": "c", ".flyte/local-cache/cache.db": "d"})
        same(*(I().with_source_folder(path, "/d") for path in (one, other)))

    def test_the_name_of_a_requirements_file(self, tmp_path: Path) -> None:
        """No step writes down what it is called; unless it is referred to, it has a name of ours."""
        files = folder(
            tmp_path, {"requirements.txt": "a\n-r more.txt\n", "gpu.txt": "a\n-r more.txt\n", "more.txt": "b\n"}
        )
        same(*(I().with_requirements(files / name) for name in ("requirements.txt", "gpu.txt")))
        folder(files, {"1/x.txt": "-r x.txt\n", "2/y.txt": "-r y.txt\n", "3/z.txt": "-r requirements.txt\n"})
        folder(files, {"3/requirements.txt": "a\n", "4/requirements.txt": "a\n"})
        names = ("1/x.txt", "2/y.txt", "3/z.txt", "4/requirements.txt")
        differ(*(I().with_requirements(files / name) for name in names))
        (files / "5").mkdir()
        folder(
            files / "5", {"pyproject.toml": '[project]\nname = "p"\nversion = "0"\n', "r.txt": ".\n", "s.txt": ".\n"}
        )
        differ(*(I().with_requirements(files / "5" / name) for name in ("r.txt", "s.txt")))

    def test_the_host_s_environments_in_a_project(self, tmp_path: Path) -> None:
        """What uv and pixi keep beside a project changes with every run of theirs, and is of no use in an image."""
        project = uv_project(tmp_path, editable="lib")
        folder(
            project,
            {
                "poetry.lock": "package = []\n",
                "pixi.toml": '[workspace]\nname = "p"\nchannels = []\nplatforms = []\n'
                '[pypi-dependencies]\nlib = { path = "lib" }\n',
                "r.txt": "./lib\n",
            },
        )
        mode: Any = {"project_install_mode": "install_project"}
        images = [
            I().with_uv_project(project / "pyproject.toml"),
            I().with_uv_project(project / "pyproject.toml", **mode),
            I().with_poetry_project(project / "poetry/pyproject.toml", **mode),
            I().with_pixi_project(project / "pixi.toml", **mode),
            I().with_requirements(project / "r.txt"),
        ]
        folder(project / "poetry", {"pyproject.toml": '[project]\nname = "p"\n', "poetry.lock": "package = []\n"})
        before = [meaning(image) for image in images]
        for place in ("", "lib/", "poetry/"):
            folder(project, {f"{place}.venv/bin/x": "1", f"{place}.pixi/envs/default/x": "1"})
        for image, expected in zip(images, before, strict=True):
            same(image, expected)
        wanted = folder(tmp_path / "patterns", {"ignore": "!**/.venv\n"}) / "ignore"
        differ(*(image.with_dockerignore(wanted) for image in images[:2]), *before[:2])

    def test_the_rest_of_a_script(self, tmp_path: Path) -> None:
        header = '# /// script\n# dependencies = ["A>=1,<2"]\n{}# ///\n'
        plain = folder(tmp_path / "1", {"s.py": header.format("") + "print(1)\n"}) / "s.py"
        other = (
            folder(tmp_path / "2", {"other.py": "#!/usr/bin/python\n" + header.format("# # a comment\n") + "x = 2\n"})
            / "other.py"
        )
        same(*(flyte.Image.from_uv_script(path, name="x") for path in (plain, other)))
        same(*(flyte.Image.from_pixi_script(path, name="x") for path in (plain, other)))

    @pytest.mark.parametrize(
        "spellings",
        [
            [["Requests"], ["requests"], [" requests "], ["requests", "requests"], ["requests", "REQUESTS"]],
            [["a.B_c"], ["a-b-c"], ["A--b.c"]],
            [["x>=2,<3"], ["x<3,>=2"], ["x >= 2, < 3"], ["x (>=2,<3)"], ["x>=2,<3,>=2"]],
            [["x[b,a]"], ["x[a,b]"], ["x[ a , b , a ]"], ["x[A,B]"]],
            [["x ; os_name=='nt'"], ['x;os_name == "nt"']],
            [["a", "b", "a"], ["a", "b"]],
        ],
    )
    def test_spellings_of_requirements(self, spellings: list[list[str]]) -> None:
        same(*(I().with_pip_packages(*packages) for packages in spellings))

    def test_spellings_of_paths(self, tmp_path: Path) -> None:
        source = folder(tmp_path, {"f": "x"})
        same(*(I().with_source_folder(source, dst) for dst in ("/app", "/app/", "/x/../app", "//app", "/./app")))
        same(*(I().with_source_file(source / "f", dst) for dst in ("/app/", "/app/.", "/x/../app/")))
        same(*(I().with_workdir("/srv").with_source_folder(source, dst) for dst in ("app", "./app", "/srv/app")))
        same(I().with_workdir("/a").with_workdir("b"), I().with_workdir("/a/").with_workdir("./b/"))
        same(I().with_source_folder(source, "x"), I().with_source_folder(Path(f"{source}/../{source.name}/"), "x"))

    def test_the_order_of_variables(self) -> None:
        same(I().with_env_vars({"A": "1", "B": "2"}), I().with_env_vars({"B": "2", "A": "1"}))
        same(I().with_env_vars({"A": "1"}).with_env_vars({"B": "2"}), I().with_env_vars({"A": "1", "B": "2"}))
        same(I().with_env_vars({"A": "0"}).with_env_vars({"A": "1"}), I().with_env_vars({"A": "1"}))
        same(I().with_env_vars({"A": "1", "B": "$A"}), I().with_env_vars({"A": "1", "B": "1"}))

    def test_spellings_of_a_command_without_a_shell(self) -> None:
        same(*(I().with_commands([text]) for text in ('["a", "b"]', '["a","b"]', ' [ "\\u0061" , "b" ] ')))

    def test_names_and_registries(self) -> None:
        same(
            I().with_pip_packages("a"),
            I().clone(name="other", registry="elsewhere.example/team").with_pip_packages("a"),
            I().with_pip_packages("a").clone(name="other", extendable=False, registry_secret="s"),
        )

    def test_names_of_a_base(self) -> None:
        """The same manifest under two names."""
        one, other = (
            specs(I(name).with_pip_packages("a"), moved={"r.example/base:1": "", "r.example/base:2": ""})
            for name in ("r.example/base:1", "r.example/base:2")
        )
        assert isinstance(one, dict)
        assert isinstance(other, dict)
        found = [
            replace(item[AMD64], base=replace(one[AMD64].base, reference=item[AMD64].base.reference))
            for item in (one, other)
        ]  # type: ignore[union-attr, type-var]
        same(*(digests(item).image for item in found))

    @pytest.mark.parametrize("mode", ["dependencies_only", "install_project"])
    def test_where_files_lie(self, tmp_path: Path, mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another folder, another depth, a relative path, older files."""
        found = []
        for place in (tmp_path / "one", tmp_path / "a/deeper/one"):
            project = uv_project(place, editable="lib")
            (project / "poetry.lock").write_text("package = []\n")
            (project / "pixi.toml").write_text('[workspace]\nname = "p"\nchannels = []\nplatforms = []\n')
            os.utime(project / "pyproject.toml", (0, 0))
            monkeypatch.chdir(project)
            for start in (project, Path(".")):
                image = I().with_requirements(start / "r.txt").with_source_folder(start / "src", "/d")
                image = image.with_source_file(start / "r.txt", "/d/").with_uv_project(
                    start / "pyproject.toml", project_install_mode=mode
                )
                found.append(image.with_pixi_project(start / "pixi.toml", project_install_mode=mode))
                found[-1] = meaning(found[-1])
        same(*found)

    def test_resolved_twice(self) -> None:
        image = I().with_pip_packages("a").with_code_bundle()
        same(image, I().with_pip_packages("a"), resolve_code_bundle_layer(image, "all", Path(".")))


class TestOutside:
    """What registries say is seen each time, and what they do not say is not made up."""

    def test_a_plain_manifest_does_not_answer_for_another_platform(self) -> None:
        with registry() as (host, objects):
            publish(objects, "x", "1", "amd64")
            assert resolve(host, AMD64).problem == ""
            found = resolve(host, ARM64)
        assert found.problem == f"`{host}/x:1` is for `linux/amd64`, not for `linux/arm64`"
        with pytest.raises(UnsupportedImageError, match="not for `linux/arm64`"):
            made_of(pip("a"), base=found, platform=ARM64)

    def test_images_of_two_platforms_have_tags_of_their_own(self) -> None:
        both = {platform: made_of(pip("a"), platform=platform) for platform in (AMD64, ARM64)}
        assert len(set(references(both, "r.example"))) == 3

    def test_an_image_that_is_there_but_is_another_one(self) -> None:
        """A tag proves nothing: what is there has to say that it is this image."""
        made, other = spec("a"), spec("b")
        with registry() as (host, objects):
            publish(objects, "flyte", digests(made).tag, "amd64", labels(other, digests(other)))
            seen = observe(f"{host}/flyte:{digests(made).tag}")
            assert status_of(made, seen)[0] == "unknown"
            publish(objects, "flyte", digests(made).tag, "amd64", labels(made, digests(made)))
            assert status_of(made, observe(f"{host}/flyte:{digests(made).tag}"))[0] == "present"

    def test_a_tag_that_moves_is_seen_at_once(self) -> None:
        with registry() as (host, objects):
            publish(objects, "x", "1", "amd64")
            before = resolve(host, AMD64)
            publish(objects, "x", "1", "amd64", {"moved": "yes"})
            after = resolve(host, AMD64)
        differ(*(digests(made_of(pip("a"), base=item)).image for item in (before, after)))

    def test_an_image_that_was_deleted_is_seen_at_once(self) -> None:
        with registry() as (host, objects):
            publish(objects, "x", "1", "amd64")
            assert isinstance(observe(f"{host}/x:1").fact, Present)
            del objects["/v2/x/manifests/1"]
            assert observe(f"{host}/x:1").fact == Absent()

    def test_a_registry_that_does_not_answer_is_unknown(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            host = f"127.0.0.1:{taken.getsockname()[1]}"
            seen = observe(f"{host}/x:1")
            base = resolve(host, AMD64)
        assert isinstance(seen.fact, Unknown)
        assert status_of(spec("a"), seen)[0] == "unknown"
        assert not base.is_resolved
        assert status_of(spec("a", base=base), Observation(Present("sha256:1")))[0] == "unknown"


def status_of(made: ImageSpec, seen: Observation) -> tuple[str, str]:
    """What a plan says of an image, given what was seen where it would be; it must say to build what is not sure."""
    node = EnvironmentNode("env", None, (), (), definition())
    variants = {made.platform: made}
    (image,) = make_plan([node], {"env": variants}, None, dict.fromkeys(references(variants, None), seen)).images
    assert image.must_be_built == (image.status != "present")
    return image.status, image.reason


def observe(reference: str) -> Observation:
    async def ask() -> Observation:
        async with RegistryClient() as client:
            return await RegistryStore(client).observe(reference)

    return asyncio.run(ask())


def resolve(host: str, platform: Platform) -> ResolvedImage:
    async def ask() -> ResolvedImage:
        async with RegistryClient() as client:
            return await client.resolve("x:1", parse(f"{host}/x:1"), platform)

    return asyncio.run(ask())


def wheel_layer(wheels: Path, package: str) -> flyte.Image:
    return extendable().clone(addl_layer=PythonWheels(wheel_dir=wheels, package_name=package))


def uv_project(at: Path, editable: str) -> Path:
    """A uv project with a lock, an editable dependency below it, a requirements file and sources."""
    lock = f"""
    version = 1
    [[package]]
    name = "p"
    version = "0"
    source = {{ virtual = "." }}
    [[package]]
    name = "{editable}"
    version = "0"
    source = {{ editable = "{editable}" }}
    """
    manifest = f'[project]\nname = "p"\nversion = "0"\ndependencies = ["{editable}"]\n'
    manifest += f'[tool.uv.sources]\n{editable} = {{ path = "{editable}", editable = true }}\n'
    package = {f"{editable}/pyproject.toml": f'[project]\nname = "{editable}"\nversion = "0"\n'}
    package[f"{editable}/{editable}/__init__.py"] = "x = 1"
    return folder(
        at,
        {
            "pyproject.toml": manifest,
            "uv.lock": "\n".join(line.strip() for line in lock.splitlines()),
            "r.txt": "six\n",
            "src/a.py": "a = 1",
            **package,
        },
    )


MD5_PAIR = (
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89"
    "55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
    "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70",
    "d131dd02c5e6eec4693d9a0698aff95c2fcab50712467eab4004583eb8fb7f89"
    "55ad340609f4b30283e4888325f1415a085125e8f7cdc99fd91dbd7280373c5b"
    "d8823e3156348f5bae6dacd436c919c6dd53e23487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080280d1ec69821bcb6a8839396f965ab6ff72a70",
)

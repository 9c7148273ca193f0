"""Requirements files as uv reads them: what is in the tree, what is refused, and the real uv on the tree."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from uv import find_uv_bin

from flytebuild.authoring import credentials, requirements
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.requirements import local_path
from flytebuild.authoring.site import Site
from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.tree import Tree
from tests.authoring.wheel import make_project, make_wheel

SITE = Site("env", "`with_requirements` layer", "main.py:3")


def paths(tree: Tree) -> list[str]:
    return [entry.path for entry in tree.entries if entry.is_file]


def read(file: Path, files: HostFiles, site: Site) -> tuple[Tree, str]:
    """The tree of a file, and the file's name there."""
    tree, name, _ = requirements.read(file, files, site)
    return tree, name


def test_packages_are_listed_with_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "# first\npandas==2.2.3 \\\n    --hash=sha256:00\n-r more/b.txt\n-i https://i.example\nsix ; os_name == 'x'\n"
    )
    written(tmp_path / "envs", {"light.txt": text, "more/b.txt": "-c c.txt\nrich", "more/c.txt": "attrs<30"})
    monkeypatch.chdir(tmp_path)
    tree, name, listed = requirements.read(Path("envs/light.txt"), HostFiles(), SITE)
    assert [(item.text, item.path, item.place) for item in listed] == [
        ("pandas==2.2.3", "requirements.txt", "envs/light.txt:2"),
        ("attrs<30", "more/c.txt", "envs/more/c.txt:1"),
        ("rich", "more/b.txt", "envs/more/b.txt:2"),
        ("six ; os_name == 'x'", "requirements.txt", "envs/light.txt:6"),
    ]
    assert {item.path for item in listed} == set(paths(tree))
    assert name == "requirements.txt"


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def read_text(folder: Path, text: str, **more: str) -> tuple[Tree, str]:
    """`requirements.txt` of that text, beside files whose names have `__` for a slash and no suffix."""
    files = {f"{name.replace('__', '/')}.txt": content for name, content in more.items()}
    written(folder, {"requirements.txt": text, **files})
    return read(folder / "requirements.txt", HostFiles(), SITE)


def refusal(folder: Path, text: str, **more: str) -> UnsupportedImageError:
    with pytest.raises(UnsupportedImageError) as caught:
        read_text(folder, text, **more)
    message = caught.value.message
    assert message.startswith("The `with_requirements` layer of environment `env` (main.py:3): ")
    assert "\n" not in message
    assert not message.endswith(".")
    assert caught.value.exit_code == 65
    return caught.value


class TestIncludes:
    """Which files are in the tree."""

    @pytest.mark.parametrize(
        "line",
        [
            "-r sub/a.txt",
            "-r=sub/a.txt",
            "-r\tsub/a.txt",
            "  -r   sub/a.txt  ",
            "--requirement sub/a.txt",
            "--requirement=sub/a.txt",
            "-c sub/a.txt",
            "--constraint=sub/a.txt",
            "-r sub/a.txt # why",
            "-r './sub/a.txt'",
            '-r "sub/a".txt',
            "-r ./sub/../sub//a.txt",
            "-r file:sub/a.txt",
            "-r ${PROJECT_ROOT}/sub/a.txt",
            "numpy  # a comment that ends in a backslash \\\n-r sub/a.txt",
            "numpy \\\n# a comment\n-r sub/a.txt",
            "# a comment that ends in a backslash \\\n-r sub/a.txt",
            "numpy==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n-r sub/a.txt",
            "\ufeff-r sub/a.txt",
            "numpy\r\n-r sub/a.txt\r\n",
            "numpy\r-r sub/a.txt\r",
            "numpy # a\u2028b\x0c\n-r sub/a.txt",
        ],
    )
    def test_a_file_that_is_included(self, tmp_path: Path, line: str) -> None:
        tree, name = read_text(tmp_path, line, sub__a="numpy<3")
        assert (paths(tree), name) == (["requirements.txt", "sub/a.txt"], "requirements.txt")

    def test_paths_of_included_files_are_relative_to_the_file_that_includes_them(self, tmp_path: Path) -> None:
        tree, _ = read_text(tmp_path, "-r sub/a.txt", sub__a="-r deep/b.txt", sub__deep__b="-c ../../c.txt", c="numpy")
        assert paths(tree) == ["c.txt", "requirements.txt", "sub/a.txt", "sub/deep/b.txt"]

    def test_a_cycle_and_a_file_that_is_included_twice(self, tmp_path: Path) -> None:
        tree, _ = read_text(
            tmp_path, "-r a.txt\n-r ./a.txt\n-c a.txt\n-r requirements.txt", a="-r requirements.txt\n-r a.txt"
        )
        assert paths(tree) == ["a.txt", "requirements.txt"]

    def test_a_file_with_a_blank_in_its_name(self, tmp_path: Path) -> None:
        tree, _ = read_text(tmp_path, "-r a b.txt", **{"a b": "numpy"})
        assert paths(tree) == ["a b.txt", "requirements.txt"]

    def test_what_is_elsewhere_is_left_to_uv(self, tmp_path: Path) -> None:
        text = (
            "-r https://example.com/r.txt\n-c ${CONSTRAINTS}/c.txt\n-i https://a/simple\n--extra-index-url=https://b\n"
            "-f https://c/links.html\n--no-index\n--pre\n--no-binary :all:\n--only-binary=numpy\n--require-hashes\n"
            "--trusted-host a\ngit+https://github.com/a/b@main#egg=b\nhttps://a/b-1.0.tar.gz\n"
            "a @ git+ssh://git@github.com/a/b.git@v1\na @ https://a/b.whl#sha256=00 ; python_version > '3'\n"
            "numpy ; platform_machine != 'a/b'\nnumpy;platform_machine!='a/b'\n"
        )
        tree, _ = read_text(tmp_path, text)
        assert paths(tree) == ["requirements.txt"]

    def test_the_file_may_be_a_link(self, tmp_path: Path) -> None:
        written(tmp_path, {"real/r.txt": "numpy"})
        (tmp_path / "requirements.txt").symlink_to("real/r.txt")
        tree, name = read(tmp_path / "requirements.txt", HostFiles(), SITE)
        assert [(entry.path, entry.kind) for entry in tree.entries] == [("requirements.txt", "file")]
        assert name == "requirements.txt"


class TestPackages:
    """Packages that lie on this machine."""

    @pytest.mark.parametrize(
        "line",
        [
            "./lib",
            "lib/",
            "./lib[x]",
            "./lib ; python_version > '3'",
            "./lib[x] ; python_version > '3'",
            "a @ ./lib",
            "a @ lib",
            "a@lib",
            "a[x] @ ./lib ; python_version > '3'",
            "a @ file:./lib",
            "a @ file:lib",
            "a @ file://./lib",
            "a @ file://${PROJECT_ROOT}/lib",
            "a @ ${PROJECT_ROOT}/lib",
            "file:l%69b",
            "./sub/../lib",
        ],
    )
    def test_a_folder(self, tmp_path: Path, line: str) -> None:
        make_project(tmp_path / "lib", "a")
        tree, _ = read_text(tmp_path, line)
        assert paths(tree) == ["lib/a.py", "lib/pyproject.toml", "requirements.txt"]

    @pytest.mark.parametrize(
        "line",
        [
            "wheels/a-1.0-py3-none-any.whl",
            "./wheels/a-1.0-py3-none-any.whl[x] ; python_version > '3'",
            "wheels/a-1.0-py3-none-any.whl; python_version > '3'",
            "wheels/a-1.0-py3-none-any.whl \\\n  --hash=sha256:00",
            "a @ file:wheels/a-1.0-py3-none-any.whl#sha256=00",
        ],
    )
    def test_a_wheel(self, tmp_path: Path, line: str) -> None:
        make_wheel(tmp_path / "wheels", "a")
        make_wheel(tmp_path / "wheels", "other")
        tree, _ = read_text(tmp_path, line)
        assert paths(tree) == ["requirements.txt", "wheels/a-1.0-py3-none-any.whl"]

    def test_a_wheel_beside_the_file(self, tmp_path: Path) -> None:
        make_wheel(tmp_path, "a")
        tree, _ = read_text(tmp_path, "a-1.0-py3-none-any.whl\nlib")
        assert paths(tree) == ["a-1.0-py3-none-any.whl", "requirements.txt"]

    def test_packages_are_relative_to_the_first_file_s_folder(self, tmp_path: Path) -> None:
        make_wheel(tmp_path / "wheels", "a")
        make_wheel(tmp_path / "sub" / "wheels", "b")
        tree, _ = read_text(tmp_path, "-r sub/a.txt", sub__a="wheels/a-1.0-py3-none-any.whl")
        assert paths(tree) == ["requirements.txt", "sub/a.txt", "wheels/a-1.0-py3-none-any.whl"]

    @pytest.mark.parametrize("line", ["-f wheels", "--find-links=./wheels/", "--find-links  'wheels'  # ours"])
    def test_find_links_is_relative_to_its_file_and_means_the_packages_in_it(self, tmp_path: Path, line: str) -> None:
        make_wheel(tmp_path / "wheels", "a")
        make_wheel(tmp_path / "sub" / "wheels", "b")
        written(tmp_path, {"sub/wheels/notes.md": "", "sub/wheels/more/c.whl": "", "sub/wheels/d.tar.gz": ""})
        tree, _ = read_text(tmp_path, "-r sub/a.txt", sub__a=line)
        assert paths(tree) == [
            "requirements.txt",
            "sub/a.txt",
            "sub/wheels/b-1.0-py3-none-any.whl",
            "sub/wheels/d.tar.gz",
        ]

    def test_an_index_may_be_a_folder(self, tmp_path: Path) -> None:
        written(tmp_path, {"index/a/index.html": "", ".dockerignore": ""})
        tree, _ = read_text(tmp_path, "-i index")
        assert paths(tree) == ["index/a/index.html", "requirements.txt"]

    def test_the_folder_that_the_file_is_in(self, tmp_path: Path) -> None:
        make_project(tmp_path, "a")
        tree, name = read_text(tmp_path, ".")
        assert (paths(tree), name) == (["a.py", "pyproject.toml", "requirements.txt"], "requirements.txt")


class TestLayout:
    """Where files are in the tree."""

    def test_the_name_of_the_first_file_is_ours(self, tmp_path: Path) -> None:
        written(tmp_path, {"a.txt": "-r b.txt", "b.txt": "numpy"})
        tree, name = read(tmp_path / "a.txt", HostFiles(), SITE)
        assert (paths(tree), name) == (["b.txt", "requirements.txt"], "requirements.txt")

    @pytest.mark.parametrize("text", ["-r a.txt", "-r sub/../a.txt", "-c requirements.txt", "-r b.txt"])
    def test_unless_it_is_named_or_taken(self, tmp_path: Path, text: str) -> None:
        written(tmp_path, {"a.txt": text, "b.txt": "-r ./a.txt", "requirements.txt": "numpy"})
        _, name = read(tmp_path / "a.txt", HostFiles(), SITE)
        assert name == "a.txt"

    def test_what_lies_above_the_file(self, tmp_path: Path) -> None:
        written(tmp_path, {"common.txt": "numpy", "a/b/r.txt": "-r ../../common.txt"})
        tree, name = read(tmp_path / "a" / "b" / "r.txt", HostFiles(), SITE)
        assert (paths(tree), name) == (["_/_/requirements.txt", "common.txt"], "_/_/requirements.txt")

    def test_the_names_of_folders_above_do_not_count(self, tmp_path: Path) -> None:
        digests = set()
        for checkout in ("one", "two/three"):
            written(tmp_path / checkout / "..", {"shared/s.txt": "numpy"})
            written(tmp_path / checkout, {"r.txt": "-r ../shared/s.txt\n-r sub/x.txt", "sub/x.txt": "pandas"})
            tree, _ = read(tmp_path / checkout / "r.txt", HostFiles(), SITE)
            digests.add(tree.digest)
        assert len(digests) == 1

    def test_a_name_that_is_entered_counts(self, tmp_path: Path) -> None:
        written(tmp_path, {"common.txt": "-r proj/x.txt", "proj/x.txt": "numpy", "proj/r.txt": "-r ../common.txt"})
        tree, name = read(tmp_path / "proj" / "r.txt", HostFiles(), SITE)
        assert (paths(tree), name) == (["common.txt", "proj/requirements.txt", "proj/x.txt"], "proj/requirements.txt")

    def test_our_name_is_nobody_else_s(self, tmp_path: Path) -> None:
        written(tmp_path, {"_/x.txt": "numpy", "proj/r.txt": "-r ../_/x.txt"})
        tree, name = read(tmp_path / "proj" / "r.txt", HostFiles(), SITE)
        assert (paths(tree), name) == (["_/x.txt", "__/requirements.txt"], "__/requirements.txt")

    def test_a_package_above_keeps_its_folders(self, tmp_path: Path) -> None:
        make_project(tmp_path, "a")
        written(tmp_path, {"requirements/r.txt": ".."})
        tree, name = read(tmp_path / "requirements" / "r.txt", HostFiles(), SITE)
        assert (paths(tree), name) == (["a.py", "pyproject.toml", "requirements/r.txt"], "requirements/r.txt")

    def test_every_file_is_known_by_where_it_lies(self, tmp_path: Path) -> None:
        make_project(tmp_path / "lib", "a")
        written(tmp_path, {"a/r.txt": "-r ../common.txt\n../lib", "common.txt": "numpy"})
        files = HostFiles()
        tree, _ = read(tmp_path / "a" / "r.txt", files, SITE)
        moved = files.roots[tree.digest].moved
        assert {name: Path(moved[name]).relative_to(tmp_path) for name in paths(tree)} == {
            "_/requirements.txt": Path("a/r.txt"),
            "common.txt": Path("common.txt"),
            "lib/a.py": Path("lib/a.py"),
            "lib/pyproject.toml": Path("lib/pyproject.toml"),
        }

    def test_the_working_directory_does_not_count(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        written(tmp_path, {"a/r.txt": "-r ../common.txt", "common.txt": "numpy"})
        whole = read(tmp_path / "a" / "r.txt", HostFiles(), SITE)
        monkeypatch.chdir(tmp_path / "a")
        assert read(Path("r.txt"), HostFiles(), SITE) == whole
        assert read(Path("../a/r.txt"), HostFiles(), SITE) == whole


class TestRefusals:
    """One sentence with the line, and what to do."""

    @pytest.mark.parametrize(
        ("line", "problem", "hint"),
        [
            (
                "-r none.txt",
                "`-r none.txt` in `{0}`, line 2, refers to `{1}/none.txt`, which does not exist",
                "relative",
            ),
            ("./none", "`./none` in `{0}`, line 2, refers to `{1}/none`, which does not exist", "relative"),
            ("-f empty", "refers to `{1}/empty`, which has no packages", "build the wheels first"),
            ("-e ./empty", "`-e ./empty` in `{0}`, line 2, is an editable install", "leave out `-e`"),
            ("--editable=git+https://a/b", "is an editable install", "leave out `-e`"),
            ("-r /etc/r.txt", "names an absolute path", "relative to the requirements file"),
            ("a @ file:///opt/a", "names an absolute path", "relative to the requirements file"),
            ("file://localhost/opt/a", "names an absolute path", "relative to the requirements file"),
            ("/opt/a", "names an absolute path", "relative to the requirements file"),
            ("-f ~/wheels", "names an absolute path", "relative to the requirements file"),
            ("-rnone.txt", "`-rnone.txt` in `{0}`, line 2, is not understood by uv", "write `-r PATH`"),
            ("-r", "`-r` in `{0}`, line 2, is not understood by uv", "write `-r PATH`"),
            ("pandas=2", "`pandas=2` in `{0}`, line 2, is not a requirement", "`name==1.2`"),
            ("two words", "is not a requirement", "`name==1.2`"),
        ],
    )
    def test_a_line(self, tmp_path: Path, line: str, problem: str, hint: str | None) -> None:
        (tmp_path / "empty").mkdir()
        error = refusal(tmp_path, f"numpy\n{line}\n")
        assert problem.format(tmp_path / "requirements.txt", tmp_path) in error.message
        assert (hint in (error.hint or "")) if hint else error.hint is None

    def test_a_line_of_an_included_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        written(tmp_path, {"requirements.txt": "-r sub/a.txt", "sub/a.txt": "\n# why\npandas \\\n  =2"})
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UnsupportedImageError, match=re.escape("`pandas   =2` in `sub/a.txt`, line 3, is not")):
            read(Path("requirements.txt"), HostFiles(), SITE)

    @pytest.mark.parametrize(
        "line",
        [
            "-i https://me:s3cret@a/simple",
            "a @ https://s3cret@a/b.whl",
            "a @ git+ssh://me:s3cret@a/b",
            "numpy  # was https://me:s3cret@a/simple",
            "-i \\\n https://me:s3cret@a/simple",
        ],
    )
    def test_credentials_are_not_repeated(self, tmp_path: Path, line: str) -> None:
        error = refusal(tmp_path, f"numpy\n{line}\n")
        number = 3 if "\n" in line else 2
        assert f"line {number} of `{tmp_path / 'requirements.txt'}` has a URL with credentials" in error.message
        assert "s3cret" not in f"{error.message}{error.hint}"

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedImageError, match=r"none\.txt` does not exist"):
            read(tmp_path / "none.txt", HostFiles(), SITE)


@pytest.mark.parametrize(
    ("url", "has_credentials"),
    [
        ("https://u:p@h/x", True),
        ("https://token@h/x", True),
        ("https://u:@h/x", True),
        ("git+https://token@github.com/a/b@main", True),
        ("ssh://git:pw@h/x", True),
        ("git+ssh://git:pw@h/x", True),
        ("https://${USER}:pw@h/x", True),
        ("https://u:$ecret@h/x", True),
        ("https://$ecret@h/x", True),
        ("https://u:${A}b@h/x", True),
        ("https://u:p/q@h/x", True),
        ("https://h/x", False),
        ("https://h:8080/x@y", False),
        ("https://h:$PORT/x@y", False),
        ("https://${H}:${PORT}/x@y", False),
        ("https://[::1]:80/x@y", False),
        ("https://forum.example/t/a-topic/7", False),
        ("https://h/x@y", False),
        ("https://h?x=a@b", False),
        ("https://h#a@b", False),
        ('{url="https://h",mail="a@b"}', False),
        ("git@github.com:a/b.git", False),
        ("git+ssh://git@github.com/a/b@main", False),
        ("ssh://me@h/x", False),
        ("ssh://git:${PW}@h/x", False),
        ("https://${TOKEN}@h/x", False),
        ("https://${TOKEN}:@h/x", False),
        ("https://${TOKEN}:x-oauth-basic@h/x", False),
        ("https://${USER}:${PW}@h/x", False),
        ("https://oauth2:${TOKEN}@h/x", False),
        ("https://__token__:${TOKEN}@h/x", False),
        ("https://VssSessionToken@pkgs.dev.azure.com/x", False),
        ("https://oauth2accesstoken@europe-python.pkg.dev/x", False),
        ("https://aws@d.d.codeartifact.eu.amazonaws.com/x", False),
    ],
)
def test_what_credentials_are(url: str, has_credentials: bool) -> None:
    assert bool(credentials.find(f"--index-url {url} ")) is has_credentials


def installed(file: Path) -> list[str]:
    """What the real uv takes from where: names and versions, or names and paths relative to the file's folder."""
    arguments = [find_uv_bin(), "pip", "install", "--dry-run", "--offline", "--no-config", "--no-deps", "--no-cache"]
    found = subprocess.run(
        [*arguments, "--target", file.parent / "none", "-r", file.name],
        cwd=file.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.returncode == 0, found.stderr
    lines = (line.removeprefix(" + ") for line in found.stderr.splitlines() if line.startswith(" + "))
    split = (line.partition(" @ file://") for line in lines)
    return sorted(f"{name} {os.path.relpath(path, file.parent) if path else ''}" for name, _, path in split)


def laid_out(tree: Tree, files: HostFiles, target: Path) -> Path:
    """The tree on the disk, as a build step sees it."""
    for entry in tree.entries:
        place = target / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.is_file:
            shutil.copyfile(files.roots[tree.digest].moved[entry.path], place)
    return target


LINES = [
    "",
    "# a comment \\",
    "./lib",
    "liba @ ./lib",
    "lib/ # why",
    "./lib[x] ; python_version > '3'",
    "liba[x] @ file:lib",
    "liba @ file://${PROJECT_ROOT}/lib",
    "../shared/libc",
    "wheels/a-1.0-py3-none-any.whl",
    "wheels/a-1.0-py3-none-any.whl[x]; python_version > '3'",
    "sub/wheels/b-1.0-py3-none-any.whl \\\n    # a comment",
    "--find-links wheels\na",
    "-f ./sub/wheels/ # more\nb==1.0",
    "-f ${PROJECT_ROOT}/wheels\na>=1,",
    "-r sub/n.txt",
    "--requirement=sub/n.txt",
    "-r 'sub/n.txt' # why",
    "-c ../shared/c.txt",
    "--constraint ../shared/c.txt",
    "-r ../shared/c.txt",
    "-r requirements.txt",
    "a ; python_version < '3' # never, \\",
]
NESTED = [
    "",
    "./lib",
    "liba @ lib",
    "-f wheels\nb",
    "--find-links ../wheels\na",
    "-r ../../shared/c.txt",
    "-r deep/d.txt",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with packages on several levels; `proj` is where the first file is."""
    root = tmp_path_factory.mktemp("host")
    make_project(root / "proj" / "lib", "liba")
    make_project(root / "proj" / "sub" / "lib", "libb")
    make_project(root / "shared" / "libc", "libc")
    make_wheel(root / "proj" / "wheels", "a")
    make_wheel(root / "proj" / "sub" / "wheels", "b")
    return root


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.sampled_from(LINES), max_size=5, unique=True),
    nested=st.lists(st.sampled_from(NESTED), max_size=3, unique=True),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    start=st.sampled_from(["", "\ufeff"]),
)
@example(lines=LINES, nested=NESTED, newline="\n", start="")
def test_uv_takes_the_same_from_the_tree_as_from_the_host(
    project: Path,
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[str],
    nested: list[str],
    newline: str,
    start: str,
) -> None:
    texts = {
        "proj/requirements.txt": start + "\n".join(lines),
        "proj/sub/n.txt": "\n".join(nested),
        "proj/sub/deep/d.txt": "-f ../wheels\nb\n",
        "shared/c.txt": "liba @ ./lib\n",
    }
    written(project, {name: text.replace("\n", newline) for name, text in texts.items()})
    main = project / "proj" / "requirements.txt"
    files = HostFiles()
    tree, name = read(main, files, SITE)
    copy = laid_out(tree, files, tmp_path_factory.mktemp("image"))
    assert installed(copy / name) == installed(main)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///a%23b%20c#egg=d", "/a#b c"),
        ("file://localhost/a", "/a"),
        ("FILE:./a", "./a"),
        ("./a#egg=b", "./a"),
        ("https://h/a", ""),
        ("git+file:///a", ""),
        ("file:///${HOME}/a", ""),
    ],
)
def test_the_path_that_a_url_names(text: str, path: str) -> None:
    assert local_path(text) == path

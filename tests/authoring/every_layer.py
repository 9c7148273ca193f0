"""Images with every kind of layer that the SDK has, on real files."""

from collections.abc import Iterator
from pathlib import Path

import flyte
from flyte import Secret
from flyte._image import CodeBundleLayer, PythonWheels

from tests.authoring.meaning import extendable

SCRIPT = '# /// script\n# dependencies = ["Six>=1"]\n# [tool.pixi.dependencies]\n# zlib = "*"\n# ///\n'
LIBRARY = '[project]\nname = "lib"\nversion = "0"\n'
FILES = {
    "requirements.txt": "-r more/\u00fc.txt\nsix\n",
    "more/\u00fc.txt": "six<2\n",
    "uv/pyproject.toml": '[project]\nname = "p"\nversion = "0"\ndependencies = ["lib"]\n'
    '[tool.uv.sources]\nlib = { path = "lib" }\n',
    "uv/uv.lock": 'version = 1\n[[package]]\nname = "p"\nversion = "0"\nsource = { virtual = "." }\n'
    '[[package]]\nname = "lib"\nversion = "0"\nsource = { directory = "lib" }\n',
    "uv/lib/pyproject.toml": LIBRARY,
    "uv/lib/lib/\u00e9.py": "",
    "poetry/pyproject.toml": '[project]\nname = "p"\nversion = "0"\ndependencies = ["six"]\n',
    "poetry/poetry.lock": '[[package]]\nname = "six"\nversion = "1"\n',
    "pixi/pixi.toml": '[workspace]\nname = "p"\nchannels = []\nplatforms = ["linux-64"]\n',
    "pixi/pixi.lock": "version: 6\n",
    "pixi/module.py": "",
    "script.py": SCRIPT,
    "dist/b-1-py3-none-any.whl": "PK",
    "dist/a-1-py3-none-any.whl": "PK",
    "src/main.py": "print()\n",
    "src/deep/er/\u00e9": "\u00e9",
    "src/Z": "",
    "src/a": "",
    "src/left.md": "out",
    "ignore": "*.md\n",
    "docker/Dockerfile": "FROM r.example/base:1\nCOPY --from=r.example/tool:1 /x /y\nCOPY . /\n",
    "docker/data": "1",
}
SECRETS: list[str | Secret] = [
    Secret("token", group="team"),
    "netrc",
    Secret("file", mount=Path("/etc/flyte/secrets")),
]


def every_image(files: Path) -> Iterator[flyte.Image]:
    """On the files above, below `files`."""
    options = {"index_url": "https://i.example/simple", "pre": True, "secret_mounts": SECRETS}
    image = extendable(platform=("linux/amd64", "linux/arm64")).with_dockerignore(files / "ignore")
    image = image.with_pip_packages("B", "a[y,x]>=1,<2", extra_index_urls=["https://j.example"], **options)  # type: ignore[arg-type]
    image = image.with_requirements(files / "requirements.txt", **options)  # type: ignore[arg-type]
    image = image.with_env_vars({"B": "\u00fc 1", "A": "$B"}).with_workdir("/srv/app")
    image = image.with_apt_packages("git", "curl-", secret_mounts=SECRETS)
    image = image.with_commands(["echo $A", '["true"]'], secret_mounts=SECRETS)
    image = image.with_source_folder(files / "src").with_source_file(files / "requirements.txt", "r/")
    image = image.clone(addl_layer=PythonWheels(wheel_dir=files / "dist", package_name="A"))
    image = image.clone(addl_layer=CodeBundleLayer(copy_style="all", dst="code", root_dir=files / "src"))
    yield image
    for mode in ("dependencies_only", "install_project"):
        project = extendable().with_uv_project(files / "uv/pyproject.toml", project_install_mode=mode, **options)  # type: ignore[arg-type]
        project = project.with_poetry_project(
            files / "poetry/pyproject.toml",
            secret_mounts=SECRETS,
            project_install_mode=mode,  # type: ignore[arg-type]
        )
        yield project.with_pixi_project(files / "pixi", secret_mounts=SECRETS, project_install_mode=mode)  # type: ignore[arg-type]
    yield flyte.Image.from_uv_script(files / "script.py", name="x", python_version=(3, 11))
    yield flyte.Image.from_pixi_script(files / "script.py", name="x").clone(python_version=(3, 11))
    yield flyte.Image.from_debian_base(python_version=(3, 11), install_flyte=False)
    yield flyte.Image.from_dockerfile(files / "docker/Dockerfile", "r.example", "x")


def write_files(folder: Path, names: list[str]) -> Path:
    """The files above in a folder, made in the order of these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(FILES[name], encoding="utf-8")
    (folder / "src/main.py").chmod(0o755)
    (folder / "src/link").symlink_to("a")
    (folder / "src/empty").mkdir()
    return folder

"""What layers are translated to, where that is easily wrong."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from flytebuild.buildkit._pb import ops_pb2
from flytebuild.llb.lower import lower, origins
from flytebuild.llb.marshal import in_order
from flytebuild.llb.projects import PROJECT
from flytebuild.llb.state import State
from flytebuild.llb.step import of_its_own, with_extra
from flytebuild.spec.images import RuntimeConfig
from flytebuild.spec.layers import (
    AptPackages,
    Command,
    Copy,
    Folder,
    LayerSpec,
    LocalPackage,
    Pin,
    Pinned,
    PipOptions,
    PipPackages,
    PixiProject,
    PoetryProject,
    UvProject,
)
from flytebuild.spec.model import SetEnv, SetWorkDir
from flytebuild.spec.step import Step
from tests.samples import file_tree, made_of, pip, spec

FILES = Copy(file_tree("main.py", "ab" * 32, 1), "/app", owner="flyte", origin="main.py")
EDITED = replace(FILES, tree=file_tree("main.py", "cd" * 32, 1))


def kinds(state: State) -> list[str | None]:
    return [vertex.operation.WhichOneof("op") for vertex in in_order(state)]


def test_every_operation_of_a_layer_leads_to_where_it_was_written() -> None:
    image = spec("ruff", "pytest")
    placed = tuple(replace(step, origin=f"main.py:{number}") for number, step in enumerate(image.steps))
    image = replace(image, steps=placed)
    found = origins(image)
    last = lower(image).vertex
    assert found[last.digest] == f"main.py:{len(placed) - 1}"
    assert found[last.inputs[0].vertex.digest] == f"main.py:{len(placed) - 2}"
    base = lower(replace(image, steps=())).vertex
    assert base.digest not in found
    nowhere = tuple(replace(step, origin="") for step in placed)
    assert origins(replace(image, steps=nowhere)) == {}


@pytest.mark.parametrize("layer", [PipPackages(()), AptPackages(())], ids=["pip", "apt"])
def test_an_empty_list_of_packages_is_no_operation(layer: LayerSpec) -> None:
    image = spec("ruff")
    step = Step(layer, RuntimeConfig(env=(("UV_PYTHON", "/p"),)))
    assert lower(replace(image, steps=(*image.steps, step))) == lower(image)


def test_options_alone_may_say_what_to_install() -> None:
    image = spec("ruff")
    layer = PipPackages((), PipOptions(extra_args="-r /list.txt"))
    step = Step(layer, RuntimeConfig(env=(("UV_PYTHON", "/p"),)))
    assert lower(replace(image, steps=(*image.steps, step))) != lower(image)


@pytest.mark.parametrize(
    ("extra", "options"),
    [
        ("", "--no-install-project --locked"),
        ("--locked", "--no-install-project --locked"),
        ("--no-install-project -q", "--locked --no-install-project -q"),
        ("--frozen", "--no-install-project --frozen"),
        ("-P six", "--no-install-project -P six"),
        ("--upgrade-package=six", "--no-install-project --upgrade-package=six"),
    ],
)
def test_no_option_of_uv_comes_twice_or_beside_one_that_excludes_it(extra: str, options: str) -> None:
    lock = file_tree("uv.lock", "0" * 64, 1)
    layer = UvProject("dependencies_only", lock, True, options=PipOptions(extra_args=extra))
    always = f"uv sync --active --inexact --project {of_its_own(PROJECT, lock)} --no-editable"
    compiled = "/opt/venv/bin/python -I /run/flytebuild-bytecode.py "
    assert " ".join(arguments(layer)).removeprefix(compiled).removeprefix("/bin/sh -c ") == f"{always} {options}"


def test_pins_are_installed_by_their_hashes_alone_and_from_the_layer_s_indexes() -> None:
    pins = (Pin("numpy", "2.3.0", "n.whl", "a" * 64), Pin("torch", "2.13.0+cpu", "t.whl", "b" * 64))
    vertex = lower(made_of(Pinned(pins, options=PipOptions("https://i.example/simple")))).vertex
    assert " ".join(vertex.operation.exec.meta.args) == (
        "uv pip install --python /opt/venv/bin/python --index-url https://i.example/simple"
        " --no-deps --require-hashes --requirement /run/flytebuild-pins.txt"
    )
    (file,) = (item.vertex for item in vertex.inputs if item.vertex.name.startswith("pins of pip: numpy==2.3.0, "))
    (action,) = file.operation.file.actions
    assert action.mkfile.data.decode() == (
        f"numpy==2.3.0 --hash=sha256:{'a' * 64}\ntorch==2.13.0+cpu --hash=sha256:{'b' * 64}\n"
    )


def test_a_pinned_layer_that_adds_nothing_is_no_operation() -> None:
    assert lower(made_of(Pinned(()))) == lower(made_of())


@pytest.mark.parametrize("workdir", ["/", "/app", "/usr/local/app"])
def test_packages_above_a_project_are_mounted_with_it_and_nowhere_else(workdir: str) -> None:
    """`/lib` would hide the system's."""
    files = file_tree("pyproject.toml", "0" * 64, 1)
    packages = (LocalPackage("../lib", files), LocalPackage("../../x", files))
    for layer in (
        UvProject("dependencies_only", files, False, packages),
        PoetryProject("dependencies_only", files, "2.2.1", packages),
    ):
        step = lower(made_of(SetWorkDir(workdir), layer)).vertex.operation.exec
        ours = of_its_own(PROJECT, files, files, files)
        assert ours in {mount.dest for mount in step.mounts}
        assert not any(mount.dest.startswith(("/lib", "/x", "/usr")) for mount in step.mounts)
        assert f"{ours}/project/project/project" in " ".join(step.meta.args)


def test_pixi_is_told_once_that_its_project_is_locked() -> None:
    for extra, expected in (("", "--locked"), ("--locked", "--locked"), ("--frozen", "--frozen")):
        layer = PixiProject("pixi.toml", "default", True, file_tree("pixi.toml", "0" * 64, 1), extra_args=extra)
        assert " ".join(arguments(layer)).endswith(f"--environment default {expected}")


def arguments(layer: LayerSpec) -> list[str]:
    """What the last process of a layer is called with."""
    return list(lower(made_of(layer)).vertex.operation.exec.meta.args)


def test_a_shell_is_called_only_where_there_is_something_for_it() -> None:
    assert with_extra(("uv", "--index-url", "https://i/a?b&c$d"), "", ("x y",)) == (
        *("uv", "--index-url", "https://i/a?b&c$d"),
        "x y",
    )
    assert with_extra(("uv",), "--pre $X", ("x y",))[2] == "uv --pre $X 'x y'"


def test_names_in_braces_are_the_only_thing_that_a_shell_replaces_in_arguments() -> None:
    command = with_extra(("uv", "--index-url", 'https://${A}:${B}@i/`"$c\\$(d)'), "", ("x>1",))
    assert command == ("/bin/sh", "-c", 'uv --index-url "https://${A}:${B}@i/\\`\\"\\$c\\\\\\$(d)" \'x>1\'')


def test_files_that_no_step_sees_are_put_on_top_of_the_image() -> None:
    below = lower(made_of(pip("ruff")))
    state = lower(made_of(pip("ruff"), FILES, Folder("/app/data", "flyte")))
    image, files = state.vertex.inputs
    assert (state.vertex.operation.WhichOneof("op"), image) == ("merge", below)
    empty, full = files.vertex.inputs
    assert files.vertex.operation.WhichOneof("op") == "diff"
    assert (empty.vertex.name, full.vertex.name) == ("outline of /app, /app/data", "folder /app/data")
    copied = full.vertex.inputs[0]
    assert copied.vertex.name == "copy: main.py → /app"
    # Owners are looked up in the outline, and nothing but that is copied onto.
    assert [item.vertex.name for item in copied.vertex.inputs] == [empty.vertex.name, "copy: main.py → /app"]


def test_an_edit_of_files_changes_nothing_below_them() -> None:
    one, other = (lower(made_of(pip("ruff"), files)) for files in (FILES, EDITED))
    changed = {vertex.name for vertex in in_order(one)} - {
        vertex.name for vertex in in_order(one) if vertex.digest in {item.digest for item in in_order(other)}
    }
    assert changed == {"copied files", "copied files on top of the image", "copy: main.py → /app"}


def test_files_that_a_step_sees_are_copied_onto_the_image() -> None:
    state = lower(made_of(FILES, Command("cat /app/main.py")))
    assert not {"merge", "diff"} & set(kinds(state))
    state = lower(made_of(FILES, Command("cat /app/main.py"), EDITED))
    assert [kind for kind in kinds(state) if kind in ("merge", "diff")] == ["diff", "merge"]


def test_files_are_copied_where_nothing_can_be_merged() -> None:
    image = made_of(pip("ruff"), FILES)
    assert not {"merge", "diff"} & set(kinds(lower(image, can_merge=False)))
    assert set(origins(image, can_merge=False)) <= {vertex.digest for vertex in in_order(lower(image, can_merge=False))}


def test_operations_of_merged_files_lead_to_where_they_were_written() -> None:
    image = made_of(pip("ruff"), FILES, Folder("/app/data", "flyte"))
    found = origins(image)
    by_name = {vertex.name: found.get(vertex.digest) for vertex in in_order(lower(image)) if vertex.inputs}
    assert by_name.pop("virtual environment /opt/venv (with Python 3.11 if there is none)") is None
    assert by_name.pop("uv from ghcr.io/astral-sh/uv:0.13.4") is None
    assert by_name == {
        "pip: ruff": "main.py:1",
        "look at /app, /app/data": "main.py:2",
        "outline of /app, /app/data": "main.py:2",
        "copy: main.py → /app": "main.py:2",
        "folder /app/data": "main.py:3",
        "copied files": "main.py:3",
        "copied files on top of the image": "main.py:3",
    }


def test_bytecode_is_not_known_by_its_source_s_time_unless_the_user_says_so() -> None:
    def told(*parts: SetEnv | PipPackages) -> list[str]:
        operation = ops_pb2.Op.FromString(lower(made_of(*parts)).vertex.encoded)
        return [pair for pair in operation.exec.meta.env if pair.startswith("PYC_")]

    assert told(pip("six")) == ["PYC_INVALIDATION_MODE=UNCHECKED_HASH"]
    assert told(SetEnv((("PYC_INVALIDATION_MODE", "TIMESTAMP"),)), pip("six")) == ["PYC_INVALIDATION_MODE=TIMESTAMP"]
    assert not any(name.startswith("PYC_") for name, _ in made_of(pip("six")).config.env)


def test_what_apt_downloads_stays_in_its_cache() -> None:
    state = lower(made_of(AptPackages(("hello",))))
    mounts = {mount.dest: mount for mount in ops_pb2.Op.FromString(state.vertex.encoded).exec.mounts}
    assert mounts["/etc/apt/apt.conf.d/docker-clean"].readonly
    caches = {dest: mount.cache_opt.sharing for dest, mount in mounts.items() if mount.mount_type == ops_pb2.CACHE}
    assert caches == {"/var/cache/apt": ops_pb2.PRIVATE, "/var/lib/apt/lists": ops_pb2.PRIVATE}


def test_steps_that_install_python_packages_do_not_wait_for_each_other() -> None:
    mounts = ops_pb2.Op.FromString(lower(made_of(pip("six"))).vertex.encoded).exec.mounts
    sharing = {mount.dest: mount.cache_opt.sharing for mount in mounts if mount.mount_type == ops_pb2.CACHE}
    assert sharing == {"/root/.cache/uv": ops_pb2.SHARED, "/run/flytebuild-tmp": ops_pb2.PRIVATE}

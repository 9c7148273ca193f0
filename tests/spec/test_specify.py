"""From a definition to the exact image."""

import pytest
from msgspec.structs import replace

from flytebuild.errors import UnsupportedImageError
from flytebuild.spec.images import Platform, ResolvedImage
from flytebuild.spec.layers import Command, Copy, Dockerfile, Folder, PixiProject
from flytebuild.spec.model import DockerfileDefinition, Placed, RunAs, SetEnv, SetLabels, SetWorkDir
from flytebuild.spec.prefix import PIXI_IMAGE, UV_IMAGE
from flytebuild.spec.specify import Specifier, frontends_needed, images_needed, specify
from tests.samples import AMD64, BASE, PIXI, UV, definition, file_tree, images, made_of, pip, spec

FILE = file_tree("a.txt", "0" * 64, 1)


def test_the_base_keeps_its_user_and_folder() -> None:
    made = spec("ruff")
    assert (made.config.user, made.config.workdir) == ("flyte", "/home/flyte")
    assert {step.context.user for step in made.steps} == {"root"}


def test_the_virtual_environment_is_first_on_the_path_and_the_base_s_path_is_kept() -> None:
    path = dict(spec("ruff").config.env)["PATH"].split(":")
    assert path[0] == "/opt/venv/bin"
    assert "/usr/bin" in path


def test_the_library_path_of_the_base_is_appended_to() -> None:
    base = replace(BASE, config=replace(BASE.config, env=(("LD_LIBRARY_PATH", "/opt/lib"),)))
    assert dict(spec("ruff", base=base).config.env)["LD_LIBRARY_PATH"] == "/opt/lib:/usr/local/nvidia/lib64"
    # Flyte's own images have it, and so has every image that was made here.
    base = replace(BASE, config=replace(BASE.config, env=(("LD_LIBRARY_PATH", "/usr/local/nvidia/lib64:/opt/lib"),)))
    assert dict(spec("ruff", base=base).config.env)["LD_LIBRARY_PATH"] == "/usr/local/nvidia/lib64:/opt/lib"


def test_the_base_s_shell_runs_what_is_shell_text() -> None:
    """As Docker does it: Flyte's own images name bash."""
    base = replace(BASE, config=replace(BASE.config, shell=("/bin/bash", "-c")))
    made = made_of(Command(shell="[[ a ]]"), Command(args=("true",)), pip("a"), base=base)
    assert [step.layer for step in made.steps[2:]] == [
        Command(args=("/bin/bash", "-c", "[[ a ]]")),
        Command(args=("true",)),
        pip("a"),
    ]
    assert made.steps[2].layer.summary == "run: [[ a ]]"
    assert made.config.shell == ("/bin/bash", "-c")
    assert made_of(Command(shell="a")).steps[2].layer == Command(shell="a")


def test_a_base_with_instructions_for_dockerfiles_is_refused() -> None:
    base = replace(BASE, on_build=("COPY . /app", "RUN make"))
    with pytest.raises(UnsupportedImageError, match=r"ONBUILD.*`COPY \. /app`.*only a Dockerfile") as caught:
        spec("ruff", base=base)
    assert "from_dockerfile" in (caught.value.hint or "")


def test_another_platform_is_refused_with_both_names() -> None:
    with pytest.raises(UnsupportedImageError, match=r"linux/amd64.*linux/s390x"):
        specify(definition(), Platform("linux", "s390x"), images())


@pytest.mark.parametrize("which", ["base", "uv"])
def test_an_image_that_does_not_exist_is_named_as_it_was_written(which: str) -> None:
    known = {"base": BASE, "uv": UV}[which]
    missing = replace(known, digest=None, problem="…", is_missing=True)
    with pytest.raises(UnsupportedImageError) as caught:
        spec("ruff", **{which: missing})  # type: ignore[arg-type]
    problem = f"cannot be made: there is no `{known.reference}` (its registry was asked for `{known.location}`)"
    assert str(caught.value) == f"The image `flyte` {problem}"
    assert "only the engine has" in str(caught.value.hint)
    with pytest.raises(UnsupportedImageError, match=r"there is no `[^`]*`$"):
        spec("ruff", **{which: replace(missing, location=known.reference)})  # type: ignore[arg-type]


def test_an_image_that_is_gone_and_was_locked_says_how_to_take_another() -> None:
    location = f"mirror.example/flyteorg/flyte@{BASE.digest}"
    gone = replace(BASE, location=location, digest=None, problem="…", is_missing=True)
    with pytest.raises(UnsupportedImageError, match=r"any more, which is what .* is locked to") as caught:
        spec("ruff", base=gone)
    assert f"`flytebuild lock --update {BASE.reference}`" in str(caught.value.hint)


def test_an_unresolved_base_is_a_problem_not_a_guess() -> None:
    assert spec("ruff").problem == ""
    assert spec("ruff", base=ResolvedImage("a:1", "a:1", problem="no answer")).problem == "no answer"
    assert spec("ruff", uv=ResolvedImage("uv:1", "uv:1", problem="no uv")).problem == "no uv"


def test_values_refer_to_the_base_and_to_what_was_set_before() -> None:
    made = made_of(SetEnv((("HOME_BIN", "/home/bin"), ("PATH", "$HOME_BIN:$PATH"), ("COST", "5\\$"), ("S", 'a "b" c'))))
    env = dict(made.config.env)
    assert env["PATH"].startswith("/home/bin:/opt/venv/bin:/opt/venv/bin:/usr/bin:")
    assert (env["COST"], env["S"]) == ("5$", 'a "b" c')


def test_a_working_directory_is_made_joined_and_expanded() -> None:
    made = made_of(SetEnv((("APP", "app"),)), SetWorkDir("/srv"), SetWorkDir("$APP/../code/"), pip("a"))
    assert [step.layer for step in made.steps if isinstance(step.layer, Folder)] == [
        Folder("/srv", "flyte"),
        Folder("/srv/code", "flyte"),
    ]
    assert made.config.workdir == "/srv/code"
    assert made.steps[-1].context.workdir == "/srv/code"


def test_destinations_become_absolute() -> None:
    made = made_of(SetWorkDir("/srv"), Copy(FILE, "./data/"), Copy(FILE, "/x/y", into=False), Copy(FILE, "."))
    found = [step.layer.destination for step in made.steps if isinstance(step.layer, Copy)]
    assert found == ["/srv/data", "/x/y", "/srv"]


def test_a_destination_may_turn_out_to_be_a_folder() -> None:
    made = made_of(SetEnv((("D", "/data/"),)), Copy(FILE, "$D", into=False), Copy(FILE, "$D/x", into=False))
    found = [(step.layer.destination, step.layer.into) for step in made.steps if isinstance(step.layer, Copy)]
    assert found == [("/data", True), ("/data/x", False)]


def test_labels_and_the_user_of_containers() -> None:
    made = made_of(SetLabels((("b", "1"),)), RunAs("app"), SetLabels((("a", "1"), ("b", "2"))))
    assert made.config.labels == (("a", "1"), ("b", "2"))
    assert made.config.user == "app"


def test_pixi_takes_the_virtual_environment_s_place() -> None:
    project = PixiProject("pixi.toml", "prod", locked=False, texts=(("pixi.toml", "[workspace]"),))
    made = made_of(project, pip("flyte"), project)
    assert [step.layer.kind for step in made.steps] == ["uv", "venv", "pixi", "pixi-project", "pip", "pixi-project"]
    env = dict(made.config.env)
    assert env["UV_PYTHON"] == "/opt/pixi-project/.pixi/envs/prod/bin/python"
    assert env["PATH"].startswith("/opt/pixi-project/.pixi/envs/prod/bin:")
    assert dict(made.steps[4].context.env)["UV_PYTHON"] == env["UV_PYTHON"]


def test_only_images_with_pixi_need_it() -> None:
    assert images_needed(definition(pip("a"))) == {BASE.reference, UV_IMAGE}
    assert PIXI_IMAGE in images_needed(definition(PixiProject("pixi.toml", "default", locked=False)))


def test_what_cannot_be_expanded_is_named_with_its_place() -> None:
    with pytest.raises(UnsupportedImageError, match=r"`\$\{A\?no\}` in the value of `B` .* \(main.py:1\)"):
        made_of(SetEnv((("B", "${A?no}"),)))


@pytest.mark.parametrize(
    ("syntax", "is_found", "by", "problem"),
    [
        ("docker/dockerfile:1", True, "docker/dockerfile:1", ""),
        ("docker/dockerfile:1 and words", True, "docker/dockerfile:1", ""),
        ("docker/dockerfile:1", False, "", ""),
        ("docker.io/docker/dockerfile", False, "", ""),
        ("docker/dockerfile:1.7.1", False, "", ""),
        ("docker/dockerfile:1-labs", False, "docker/dockerfile:1-labs", "no answer"),
        ("docker/dockerfile:1@sha256:" + "0" * 64, False, "docker/dockerfile:1@sha256:" + "0" * 64, "no answer"),
        ("r.example/docker/dockerfile:1", False, "r.example/docker/dockerfile:1", "no answer"),
    ],
)
def test_the_frontend_of_a_dockerfile(syntax: str, is_found: bool, by: str, problem: str) -> None:
    """It is pinned; Docker's stable one has the builder's own as its stand-in, which is told, and no other has."""
    made = DockerfileDefinition("n", None, (AMD64,), Dockerfile(FILE, FILE, syntax=syntax), ())
    (name,) = frontends_needed(made)
    found = ResolvedImage(name, name, problem="no answer")
    if is_found:
        found = ResolvedImage(name, name, "sha256:" + "5" * 64)
    pinned = specify(made, AMD64, {}, {name: found})
    (layer,) = (step.layer for step in pinned.steps)
    assert isinstance(layer, Dockerfile)
    assert (layer.frontend.reference if layer.frontend else "") == by
    assert pinned.problem == problem
    stands_in = "Dockerfile a.txt by the builder's own frontend (no answer)"
    assert layer.summary == (f"Dockerfile a.txt by {by}" if by else stands_in)
    assert layer.fields().get("frontend") == ((found.identity()) if by else None)


def test_no_frontend_is_needed_where_none_is_named() -> None:
    assert frontends_needed(DockerfileDefinition("n", None, (AMD64,), Dockerfile(FILE, FILE), ())) == frozenset()
    assert frontends_needed(definition(pip("a"))) == frozenset()


def test_images_of_a_plan_share_the_steps_that_they_start_with() -> None:
    specifier = Specifier(AMD64, images())
    one, other, last = (
        specifier.specify(definition(*parts))
        for parts in ((pip("a"), pip("b")), (pip("a"), pip("c")), (SetEnv((("A", "1"),)), pip("a")))
    )
    assert [step is same for step, same in zip(one.steps, other.steps, strict=True)] == [True, True, True, False]
    assert one.steps[2].layer == last.steps[2].layer
    assert one.steps[2].context != last.steps[2].context


def test_equal_parts_that_were_written_in_two_places_keep_both() -> None:
    specifier = Specifier(AMD64, images())
    made = [
        specifier.specify(replace(definition(), parts=(Placed(pip("a"), place), Placed(pip("b"), place))))
        for place in ("one.py:1", "other.py:2", "one.py:1")
    ]
    assert [[step.origin for step in item.steps[2:]] for item in made] == [
        ["one.py:1"] * 2,
        ["other.py:2"] * 2,
        ["one.py:1"] * 2,
    ]
    assert made[0] == made[1] == made[2]


def test_every_image_with_a_part_that_cannot_be_expanded_is_told() -> None:
    specifier = Specifier(AMD64, images())
    bad = definition(pip("a"), SetWorkDir("${A?no}"))
    for name in ("one", "other"):
        with pytest.raises(UnsupportedImageError, match=rf"the path `\$\{{A\?no\}}` of environment `{name}` cannot"):
            specifier.specify(replace(bad, environment=name))


def test_an_image_that_is_for_other_platforms_is_told_to_those_who_need_it() -> None:
    pixi = replace(PIXI, digest=None, is_for_others=True, problem="only for others")
    specifier = Specifier(AMD64, images(pixi=pixi))
    specifier.specify(definition(pip("a")))
    with pytest.raises(UnsupportedImageError, match=r"cannot be made for `linux/amd64`: only for others"):
        specifier.specify(definition(PixiProject("pixi.toml", "default", locked=False)))

"""Which images a Dockerfile names, by Docker's rules."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytebuild.authoring.dockerfiles import images, read
from flytebuild.authoring.files import HostFiles
from flytebuild.authoring.site import Site
from flytebuild.errors import UnsupportedImageError

SITE = Site("env", "Dockerfile", "main.py:3")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a", "a"),
        ("from a\nrun true", "a"),
        ("\ufeffFROM a", "a"),
        ("FROM a:1.2@sha256:" + "0" * 64, "a:1.2@sha256:" + "0" * 64),
        ("FROM localhost:5000/a/b:1", "localhost:5000/a/b:1"),
        ("FROM   a\tAS  x", "a"),
        ("FROM --platform=$BUILDPLATFORM a AS x", "a"),
        ("FROM scratch", ""),
        ("FROM \\\n  # why\n\n  a \\\n  AS x\nFROM x", "a"),
        ("FROM py\\\nthon", "python"),
        ("FROM a AS B\nFROM b", "a"),
        ("FROM a as a\nFROM a", "a"),
        ("# a comment\nFROM a # not a comment", "a"),
    ],
)
def test_from(text: str, found: str) -> None:
    assert images(text, SITE) == tuple(found.split())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ARG V=3.11\nFROM python:$V", "python:3.11"),
        ('ARG V="3.11"\nFROM python:${V}-slim', "python:3.11-slim"),
        ("ARG A='a' B=b-\"c\"\nFROM $A\nCOPY --from=x / /", "a x"),
        ("ARG A=a\nARG B=${A}/b\nFROM $B", "a/b"),
        ("ARG A='$B'\nFROM ${A:+yes}", "yes"),
        ("ARG A\nFROM ${A:-python}", "python"),
        ("ARG A=one\nFROM ${B:-${A}}", "one"),
        ("ARG A=x\nFROM a\nARG A=y\nFROM $A", "x"),
        ("ARG A=a\nARG A=b\nFROM $A", "b"),
        ("ARG UNUSED=${TARGETARCH}\nARG TARGETPLATFORM\nFROM a", "a"),
        ('FROM "a"', "a"),
    ],
)
def test_arguments_in_front_of_the_first_from(text: str, found: str) -> None:
    assert images(text, SITE) == tuple(found.split())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a\nCOPY --from=b:1 /x /y", "a b:1"),
        ("FROM a\nCOPY --chown=1:1 --from=b /x /y", "a b"),
        ("FROM a\ncopy --from=b /x /y", "a b"),
        ("FROM a AS one\nFROM b\nCOPY --from=ONE /x /y", "a b"),
        ("FROM a\nFROM b\nCOPY --from=0 /x /y", "a b"),
        ("FROM a\nCOPY --from=later /x /y\nFROM b AS later", "b"),
        ("FROM a\nCOPY . --from=b", "a"),
        ("FROM a\nRUN --mount=type=bind,from=b,target=/x cp /x /y", "a b"),
        ("FROM a\nRUN --mount=type=cache,target=/c --mount=from=b:1,target=/x true", "a b:1"),
        ('FROM a\nRUN --mount="type=bind,from=b,target=/x" true', "a b"),
        ("FROM a\nRUN --network=none \\\n  --mount=target=/x,From=b \\\n  true", "a b"),
        ("FROM a\nRUN tool --mount=from=b,x --from=c", "a"),
        ("FROM a\nONBUILD COPY --from=b /x /y", "a"),
        ("FROM a\nLABEL x='COPY --from=b'\nENV FROM=c", "a"),
    ],
)
def test_copied_and_mounted_images(text: str, found: str) -> None:
    assert images(text, SITE) == tuple(found.split())


def test_stages_that_the_last_one_does_not_need_do_not_count() -> None:
    text = """
FROM unused AS one
FROM gpu AS two
COPY --from=one / /
FROM tools AS three
FROM base
COPY --from=three /x /x
RUN --mount=from=extra,target=/y true
"""
    assert images(text, SITE) == ("tools", "base", "extra")


@pytest.mark.parametrize(
    "body",
    [
        "RUN <<EOF\nFROM x\nEOF",
        "RUN <<-EOF\n\tFROM x\n\tEOF",
        "RUN <<EOF\n\tEOF\nFROM x\nEOF",
        "RUN <<'EOF' cat\nFROM x\nEOF",
        'RUN python3 <<"END-OF.it"\nFROM x\nEOF\nEND-OF.it',
        "RUN 3<<EOF cat <&3\nFROM x\nEOF",
        "COPY <<one <<two /x/\nFROM x\none\nFROM y\ntwo",
        "ADD <<EOF /x\nFROM x \\\nEOF",
        "ONBUILD RUN <<EOF\nFROM x\nEOF",
        "RUN cat \\\n <<EOF\nCOPY --from=x / /\nEOF",
        "RUN echo $((1<<EOF))",
        "RUN cat <<<EOF",
        "RUN echo 'a <<EOF b'",
        "ENV A=<<EOF",
    ],
)
def test_heredocs(body: str) -> None:
    assert images(f"FROM a\n{body}\nCOPY --from=last / /", SITE) == ("a", "last")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# escape=`\nFROM `\n a\nRUN dir c:\\\nCOPY --from=b / /", "a b"),
        ("# syntax=docker/dockerfile:1\n# Escape = `\nFROM `\na", "a"),
        ("# a comment\n# escape=`\nFROM a\nRUN x \\\nCOPY --from=b / /", "a"),
        ("\n# escape=`\nFROM a\nRUN x \\\nCOPY --from=b / /", "a"),
        ("# escape=\\\nFROM \\\na", "a"),
        ("FROM a\nRUN dir c:\\\\\nCOPY --from=b / /", "a b"),
        ("FROM a\nRUN x \\  \n  # COPY --from=c / /\nCOPY --from=b / /", "a"),
        ("FROM a\nRUN x \\", "a"),
        ("FROM a \\", "a"),
    ],
)
def test_continued_lines_and_directives(text: str, found: str) -> None:
    assert images(text, SITE) == tuple(found.split())


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("", "the Dockerfile has no `FROM`", None),
        ("RUN true", "the Dockerfile has no `FROM`", None),
        ("# x\nFROM", "line 2 of the Dockerfile is a `FROM` that names no image", None),
        ("FROM --platform=linux/amd64", "line 1 of the Dockerfile is a `FROM` that names no image", None),
        ("ARG V\n\nFROM $V", "line 3 of the Dockerfile names an image by a variable that has no value", "a default"),
        ("FROM Python", "names `Python`, which is not an image reference", "an example of one"),
        ("FROM a:$TARGETARCH", "names `a:$TARGETARCH`, which depends on the platform", "without platform variables"),
        ("ARG X=${TARGETARCH}\nFROM a:$X", "names `a:$X`, which depends on the platform", "without platform"),
        ("FROM ${X:?no}", "line 1 of the Dockerfile has `${X:?no}`, which cannot be expanded", None),
        ("FROM a\nCOPY --from=$X / /", "line 2 of the Dockerfile names `$X`, which is not an image reference", None),
        ("FROM a\nCOPY --from=1 / /", "line 2 of the Dockerfile copies from stage 1, which does not exist", None),
    ],
)
def test_refusals(text: str, problem: str, hint: str | None) -> None:
    with pytest.raises(UnsupportedImageError, match=re.escape(problem)) as caught:
        images(text, SITE)
    assert caught.value.message.startswith("The Dockerfile of environment `env` (main.py:3): ")
    if hint:
        assert hint in (caught.value.hint or "")


@given(st.text(st.sampled_from("FROMCPY -=<\"'$\\#{}\n\tab1"), max_size=60))
def test_no_text_is_too_odd(text: str) -> None:
    try:
        found = images(f"FROM a\n{text}", SITE)
    except UnsupportedImageError:
        return
    assert isinstance(found, tuple)


def test_a_stage_for_another_platform_than_the_image_is_pinned_to() -> None:
    text = "FROM --platform=linux/amd64 a"
    assert images(text, SITE, ["linux/amd64"]) == ("a",)
    assert images("FROM --platform=amd64 a", SITE, ["linux/amd64"]) == ("a",)
    assert images("FROM --platform=$BUILDPLATFORM a", SITE, ["linux/amd64", "linux/arm64"]) == ("a",)
    with pytest.raises(UnsupportedImageError, match="line 1 of the Dockerfile starts from an image for `linux/amd64`"):
        images(text, SITE, ["linux/amd64", "linux/arm64"])


def test_the_context_is_the_file_s_folder_without_what_is_ignored(tmp_path: Path) -> None:
    for name in ("Dockerfile", "a.txt", "b.log", ".dockerignore", "My.Dockerfile", "My.Dockerfile.dockerignore"):
        (tmp_path / name).write_text("FROM a")
    (tmp_path / ".dockerignore").write_text("*.log\nDockerfile\n")
    (tmp_path / "My.Dockerfile.dockerignore").write_text("*.txt\n")
    files = HostFiles()
    layer, named = read(tmp_path / "Dockerfile", files, SITE)
    assert named == ("a",)
    assert layer.file == "Dockerfile"
    assert {entry.path for entry in layer.tree.entries} == {
        *(".dockerignore", "Dockerfile", "My.Dockerfile", "My.Dockerfile.dockerignore", "a.txt")
    }
    mine, _ = read(tmp_path / "My.Dockerfile", files, SITE)
    assert "b.log" in mine.tree.by_path
    assert "a.txt" not in mine.tree.by_path
    assert {layer.tree.digest, mine.tree.digest} <= files.roots.keys()


def test_what_is_kept_beside_code_is_no_context_unless_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / ".flyte").mkdir()
    (tmp_path / ".flyte/config.yaml").touch()
    for patterns, paths in ((None, []), ("*.log\n", []), ("!.flyte\n", [".flyte/config.yaml"])):
        if patterns:
            (tmp_path / ".dockerignore").write_text(patterns)
        layer, _ = read(tmp_path / "Dockerfile", HostFiles(), SITE)
        found = [entry.path for entry in layer.tree.entries if entry.is_file]
        assert [path for path in found if path.startswith(".flyte")] == paths

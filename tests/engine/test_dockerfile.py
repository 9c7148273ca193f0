"""Dockerfiles, by the frontend that the daemon has, and by one in an image."""

import json
import secrets
from pathlib import Path
from shutil import copy

import docker
import pytest

from flytebuild.build.labels import SPEC
from flytebuild.buildkit._pb import ops_pb2
from flytebuild.buildkit.export import Export
from flytebuild.buildkit.frontend import Frontend, dockerfile
from flytebuild.buildkit.solve import SolveError
from flytebuild.llb.file import make_file
from flytebuild.llb.marshal import marshal
from tests.engine.building import Builds, digest
from tests.engine.solving import FoundTree, Solver, hashed

pytestmark = pytest.mark.engine


@pytest.fixture
def context(tmp_path: Path) -> FoundTree:
    """A context whose `.dockerignore` has been applied already, which is not for the frontend to do again."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "mod.py").write_text(secrets.token_hex(8))
    (tmp_path / "run.sh").write_text("#!/bin/sh\ncat /app/mod.py")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / ".dockerignore").write_text("**/*.py\n")
    return hashed(tmp_path)


def written(solver: Solver, text: str, filename: str = "Dockerfile") -> ops_pb2.Definition:
    return marshal(make_file(None, f"/{filename}", text.encode(), solver.platform, name="Dockerfile"))


def test_a_dockerfile_that_copies_files_onto_a_base_of_the_mirror(solver: Solver, context: FoundTree) -> None:
    text = """
FROM python:3.11 AS base
USER root
FROM base
ARG TARGETARCH
COPY pkg /app
COPY --from=tools /usr/bin/env /bin/env-of-tools
COPY --chown=flyte:flyte --chmod=0700 run.sh /bin/run.sh
RUN echo $TARGETARCH >/arch
ENV GREETING="hello there"
LABEL ours=no theirs=yes
ENTRYPOINT ["/bin/run.sh"]
"""
    work = dockerfile(
        marshal(context.state),
        written(solver, text, "other/My.Dockerfile"),
        solver.platform,
        filename="other/My.Dockerfile",
        images={"python:3.11": solver.base_reference, "tools": solver.base_reference},
        labels={"ours": "a value, with: signs=\n"},
    )
    name = f"flytebuild.local/t{secrets.token_hex(6)}:1"
    solved = solver.solve(work, context, export=Export("moby", {"name": name}))
    assert solved.answer["containerimage.digest"].startswith("sha256:")
    client = docker.from_env()
    try:
        assert client.containers.run(name, remove=True).decode() == (context.root / "pkg" / "mod.py").read_text()
        look = "stat -c '%U %a' /bin/run.sh; cat /arch; echo $GREETING"
        shell = client.containers.run(name, ["-c", look], entrypoint="/bin/sh", remove=True).decode()
        assert shell.splitlines() == ["flyte 700", solver.platform.architecture, "hello there"]
        labels = client.images.get(name).labels
        assert (labels["ours"], labels["theirs"]) == ("a value, with: signs=\n", "yes")
    finally:
        client.images.remove(name, force=True)
        client.close()


def test_two_contexts_in_one_session(solver: Solver, tmp_path: Path) -> None:
    trees = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "file").write_text(secrets.token_hex(8))
        trees.append(hashed(tmp_path / str(number)))
    # No step is cached, so both say what they copied.
    text = "FROM base\nCOPY file /file\nRUN cat /file"
    for tree in trees:
        work = dockerfile(
            marshal(tree.state), written(solver, text), solver.platform, images={"base": solver.base_reference}
        )
        assert solver.solve(work, *trees).log == (tree.root / "file").read_text()


def test_a_frontend_that_asks_for_parts_of_a_tree(solver: Solver, context: FoundTree) -> None:
    """Without graphs for its inputs it reads local sources: some files of one, another but what is ignored."""
    root = context.root
    (root / ".dockerignore").write_text("**/*.py\n!keep.py\nDockerfile\n")
    (root / "keep.py").write_text("")
    (root / "ünï").mkdir()
    (root / "ünï" / "x.txt").write_text("")
    (root / "Dockerfile").write_text(f"FROM base\nCOPY . /all/\nRUN cd /all; find . | sort # {secrets.token_hex(4)}")
    attrs = {"platform": str(solver.platform), "context:base": f"docker-image://{solver.base_reference}"}
    tree = hashed(root)
    solved = solver.solve(Frontend("dockerfile.v0", attrs, {}), named={"context": tree, "dockerfile": tree})
    assert solved.log.splitlines() == [
        *(".", "./.dockerignore", "./keep.py", "./pkg", "./run.sh", "./ünï", "./ünï/x.txt")
    ]


def test_another_frontend_than_the_daemon_s_own_is_asked_for_in_vain(solver: Solver, context: FoundTree) -> None:
    """Nothing is fetched: where the file's line was looked at, whoever reads the file does it himself."""
    line = "127.0.0.1:1/no/frontend:1"
    work = dockerfile(
        marshal(context.state),
        written(solver, f"# syntax={line}\nFROM base\nRUN echo {secrets.token_hex(4)}"),
        solver.platform,
        images={"base": solver.base_reference},
        syntax=line,
    )
    assert solver.solve(work, context).log


def test_a_step_that_fails(solver: Solver, context: FoundTree) -> None:
    text = f"FROM base\nRUN echo {secrets.token_hex(4)}; exit 7"
    work = dockerfile(
        marshal(context.state), written(solver, text), solver.platform, images={"base": solver.base_reference}
    )
    with pytest.raises(SolveError) as caught:
        solver.solve(work, context)
    assert caught.value.reason.exit_code == 7
    assert caught.value.reason.vertex


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM base\nNONSENSE x", "unknown instruction: NONSENSE"),
        ("FROM base\nCOPY missing /", '"/missing": not found'),
        ("", "the Dockerfile cannot be empty"),
    ],
    ids=["syntax", "missing file", "empty"],
)
def test_a_dockerfile_that_is_wrong(solver: Solver, context: FoundTree, text: str, problem: str) -> None:
    work = dockerfile(
        marshal(context.state), written(solver, text), solver.platform, images={"base": solver.base_reference}
    )
    with pytest.raises(SolveError, match=problem):
        solver.solve(work, context)


@pytest.fixture(scope="module")
def frontends(builds: Builds, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """References of images that are frontends, by what they say of themselves."""
    python = builds.build({"python": builds.base.with_pip_packages("grpcio")})["python"].reference
    images = {}
    for ability in ("contexts", "subrequests"):
        folder = tmp_path_factory.mktemp(ability)
        copy(Path(__file__).with_name("frontend.py"), folder)
        (folder / "Dockerfile").write_text(
            f"FROM {python}\nLABEL moby.buildkit.frontend.caps=moby.buildkit.frontend.inputs,"
            f"moby.buildkit.frontend.{ability}\n"
            'COPY frontend.py /\nENTRYPOINT ["/opt/venv/bin/python", "/frontend.py"]\n'
        )
        images[ability] = builds.dockerfile(folder)
    return {name: built.reference for name, built in builds.build(images).items()}


def test_a_frontend_in_an_image(builds: Builds, frontends: dict[str, str], tmp_path: Path) -> None:
    """It is pinned, and reads the file with all that is pinned for it."""
    text = f"# syntax={frontends['contexts']} and words\nFROM ghcr.io/acme/service:1\nCOPY . /context/\n"
    (tmp_path / "Dockerfile").write_text(text)
    (tmp_path / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
    (tmp_path / "file").write_text(secrets.token_hex(4))
    built = builds.build({"image": builds.dockerfile(tmp_path)})["image"]
    assert built.config["Labels"]["read-by"] == "the frontend for tests"
    assert built.run("ls", "-A", "/context", entrypoint=["/bin/busybox"]).split() == ["file"]
    (layer,) = json.loads(built.config["Labels"][SPEC])["layers"]
    assert layer["spec"]["frontend"]["image"] == digest(frontends["contexts"])


def test_a_frontend_that_cannot_be_told_which_images_to_use(
    builds: Builds, frontends: dict[str, str], tmp_path: Path
) -> None:
    """It would fetch them by their names."""
    (tmp_path / "Dockerfile").write_text(f"# syntax={frontends['subrequests']}\nFROM ghcr.io/acme/service:1\n")
    failure = builds.failure(builds.plan({"image": builds.dockerfile(tmp_path)}))
    assert failure.message == "unsupported frontend capability moby.buildkit.frontend.contexts"
    assert "`# syntax=`" in failure.hint
    assert failure.step == f"reading the Dockerfile Dockerfile by {frontends['subrequests']}"

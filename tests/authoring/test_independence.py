"""What digests do not depend on: the process, the machine's settings, where files lie and how they came to be there."""

import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flytebuild.authoring.layers import _KINDS
from flytebuild.build.labels import labels
from flytebuild.build.secrets import layer_secrets
from flytebuild.llb.lower import lower
from flytebuild.llb.marshal import marshal
from flytebuild.spec.canonical import encode
from flytebuild.spec.digests import digests
from tests.authoring.every_layer import FILES, every_image, write_files
from tests.authoring.meaning import meaning, specs

TOP = Path(__file__).parents[2]


def printed(files: Path | str, cwd: Path, **environ: str) -> list[str]:
    """The digests by a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("print_meaning.py")), str(files)],
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(TOP), **environ},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def test_digests_are_the_same_everywhere(tmp_path: Path) -> None:
    one = write_files(tmp_path / "one", sorted(FILES))
    other = write_files(tmp_path / "deeper/another place/\u00e9", random.Random(1).sample(sorted(FILES), len(FILES)))
    for path in sorted(other.rglob("*"), reverse=True):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o066)
        os.utime(path, (1, 1), follow_symlinks=False)
    expected = [meaning(image) for image in every_image(one)]
    assert len(set(expected)) == len(expected)
    assert printed(one, tmp_path, PYTHONHASHSEED="0", LC_ALL="C.UTF-8") == expected
    assert printed("one", tmp_path, PYTHONHASHSEED="1", LC_ALL="C", TZ="Asia/Tokyo") == expected
    assert printed(other, one, PYTHONHASHSEED="2", HTTPS_PROXY="http://p.example:1", HOME="/nowhere") == expected
    assert printed(".", other, LC_ALL="C", UV_INDEX_URL="https://u.example", SSL_CERT_FILE="") == expected


def test_operations_are_the_same_wherever_files_lie(tmp_path: Path) -> None:
    """Byte for byte: BuildKit takes equal ones of several clients for one."""
    places = [write_files(tmp_path / name, sorted(FILES)) for name in ("one", "deeper/another place")]
    made = [
        [
            marshal(lower(spec, has_bundle=True)).SerializeToString(deterministic=True)
            for image in every_image(place)
            for spec in specs(image).values()  # type: ignore[union-attr]
            if spec.base
        ]
        for place in places
    ]
    assert made[0] == made[1]
    assert len(made[0]) >= 10
    assert not [content for content in made[0] if str(tmp_path).encode() in content]


def test_the_images_above_have_every_kind_of_layer(tmp_path: Path) -> None:
    files = write_files(tmp_path, list(FILES))
    assert {type(layer) for image in every_image(files) for layer in image._layers} == set(_KINDS)


def test_nothing_of_the_host_and_no_secret_is_in_what_is_hashed_or_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canonical documents, the labels that an image carries, and every layer's line in a plan."""
    hidden = {
        "TEAM_TOKEN": "value-of-the-token",
        "NETRC": "value-of-netrc",
        "FILE": "value-of-the-file",
        "UV_INDEX_URL": "https://me:index-password@i.example/simple",
        "HTTPS_PROXY": "http://me:proxy-password@p.example",
    }
    for name, value in hidden.items():
        monkeypatch.setenv(name, value)
    files = write_files(tmp_path / "secret-place", list(FILES))
    made = [spec for image in every_image(files) for spec in specs(image).values()]  # type: ignore[union-attr]
    assert {value.decode() for value in layer_secrets(made, os.environ).values()} == set(list(hidden.values())[:3])
    for spec in made:
        found = digests(spec)
        texts = [
            *labels(spec, found).values(),
            *(encode(step.document("")).decode() for step in spec.steps),
            *(step.layer.summary for step in spec.steps),
            str(spec.config),
        ]
        outside = [*hidden.values(), "password", str(tmp_path), "secret-place", str(TOP), socket.gethostname()]
        outside += [str(Path.home()) + "/"] if str(Path.home()) != "/root" else []
        assert not [(part, text) for part in outside for text in texts if part in text]

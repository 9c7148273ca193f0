"""A wheel that is another one by now tells nothing of the one that was locked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from flytebuild.errors import UnavailableError
from flytebuild.spec.layers import Pin
from flytebuild.wheels.metadata import MetadataReader
from tests.wheels.index import PASSWORD, Index, served


@dataclass
class Memory:
    texts: dict[str, str] = field(default_factory=dict)

    def remembered(self, kind: str, key: str) -> str | None:
        return self.texts.get(key)

    def remember(self, kind: str, key: str, text: str) -> None:
        self.texts[key] = text


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with served(tmp_path) as found:
        found.has_ranges = False
        found.add("leaf", "1.0", "common<2", is_hidden=True)
        yield found


def test_a_file_of_the_same_name_with_another_content_is_refused(index: Index, tmp_path: Path) -> None:
    (name,) = index.files["leaf"]
    content = index.files["leaf"][name]
    kept = tmp_path / "kept" / name
    kept.parent.mkdir()
    kept.write_bytes(content)
    for url in (f"{index.url}/leaf/{name}", kept.as_uri()):
        memory = Memory()
        pin = Pin("leaf", "1.0", name, sha256(b"another").hexdigest(), url, len(content))
        with pytest.raises(UnavailableError, match="not the file that the index named"):
            MetadataReader(memory).read([pin], ())
        assert memory.texts == {}
        right = Pin("leaf", "1.0", name, sha256(content).hexdigest(), url, len(content))
        assert "Requires-Dist: common<2" in MetadataReader(memory).read([right], ())["leaf"]
        assert list(memory.texts) == [right.sha256]
        # From memory, unless that is damaged.
        gone = Pin("leaf", "1.0", name, right.sha256, "http://127.0.0.1:1/gone", len(content))
        assert "Requires-Dist: common<2" in MetadataReader(memory).read([gone], ())["leaf"]
        memory.texts[right.sha256] = memory.texts[right.sha256].replace("common<2", "common<3")
        with pytest.raises(UnavailableError):
            MetadataReader(memory).read([gone], ())


def test_whether_everybody_is_given_a_wheel(index: Index) -> None:
    (name,) = index.files["leaf"]

    def closed(*places: str) -> str:
        urls = [f"http://{index.address}/{place}/leaf/{name}" for place in places]
        return MetadataReader(Memory()).closed([Pin("leaf", "1.0", name, "1" * 64, url, 1) for url in urls])

    assert closed("simple", "simple") == ""
    for place in ("private", "signed", "login", "simple/nothing"):
        assert closed("simple", place, "simple") == "127.0.0.1"
    for place, status in (("busy", 503), ("limited", 429)):
        with pytest.raises(UnavailableError, match=f"status {status}"):
            closed("simple", place)
    assert MetadataReader(Memory()).closed([Pin("leaf", "1.0", name, "1" * 64, "file:///srv/leaf.whl", 1)]) == ""


def test_a_wheel_whose_index_says_no_size_is_as_large_as_its_server_says(index: Index) -> None:
    (name,) = index.files["leaf"]
    content = index.files["leaf"][name]
    pin = Pin("leaf", "1.0", name, sha256(content).hexdigest(), f"{index.url}/leaf/{name}")
    known, gone = replace(pin, size=7), replace(pin, url=f"{index.url}/leaf/gone.whl")
    private = replace(pin, url=pin.url.replace("/simple/", "/private/"))
    nowhere, local = replace(pin, url="http://127.0.0.1:1/x.whl"), replace(pin, url="file:///x.whl")
    reader = MetadataReader(Memory())
    found = reader.sized([pin, known, gone, private, nowhere, local], ())
    assert [item.size for item in found] == [len(content), 7, None, None, None, None]
    (read,) = reader.sized([private], [index.private.replace("${TOKEN}", PASSWORD)])
    assert read == replace(private, size=len(content))

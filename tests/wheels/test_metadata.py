"""What wheels say of themselves: no more is fetched than that takes, and nothing is believed that is not promised."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from flytebuild.errors import UnavailableError, UntrueError
from flytebuild.spec.layers import Pin
from flytebuild.wheels.metadata import MetadataReader
from tests.engine import packages
from tests.wheels.index import PASSWORD, Index, served
from tests.wheels.memory import Memory


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
        assert [key for _, key in memory.texts] == [right.sha256]
        # From memory, unless that is damaged.
        gone = Pin("leaf", "1.0", name, right.sha256, "http://127.0.0.1:1/gone", len(content))
        assert "Requires-Dist: common<2" in MetadataReader(memory).read([gone], ())["leaf"]
        memory.texts = {asked: text.replace("common<2", "common<3") for asked, text in memory.texts.items()}
        with pytest.raises(UnavailableError):
            MetadataReader(memory).read([gone], ())


def pin(index: Index, name: str, place: str = "simple") -> Pin:
    """A package's only wheel."""
    ((file, content),) = index.files[name].items()
    url = f"http://{index.address}/{place}/{name}/{file}"
    return Pin(name, "1.0", file, sha256(content).hexdigest(), url, len(content))


@pytest.mark.parametrize("is_json", [False, True])
def test_metadata_that_its_index_does_not_promise_is_refused(is_json: bool, index: Index) -> None:
    index.is_json = is_json
    file = index.add("told", "1.0", "common<2")
    told, memory = pin(index, "told", "private"), Memory()
    private = index.private.replace("${TOKEN}", PASSWORD)
    assert "Requires-Dist: common<2" in MetadataReader(memory).read([told], [index.url, private])["told"]
    assert index.requests.count("/simple/told/") == 1

    index.forged.add(file)
    # What was read when it was right is remembered.
    assert "evil" not in MetadataReader(memory).read([told], [private])["told"]
    memory.texts.clear()
    with pytest.raises(UntrueError, match=f"`{file}` on `{index.address}` is not what its index promises") as caught:
        MetadataReader(memory).read([told], [private])
    assert PASSWORD not in f"{caught.value.message} {caught.value.hint}"
    assert memory.texts == {}


def test_an_index_promises_nothing_of_another_wheel_with_the_same_name(index: Index, tmp_path: Path) -> None:
    index.forged.add(index.add("told", "1.0"))
    told = pin(index, "told")
    with served(tmp_path / "other") as other:
        other.add("told", "1.0", "common<2")
        assert "evil" in MetadataReader(Memory()).read([told], [other.url, f"{other.url}/nothing"])["told"]
    with pytest.raises(UnavailableError, match="status 503"):
        MetadataReader(Memory()).read([told], [f"http://{index.address}/busy"])


@pytest.mark.parametrize("folder", ["file:///opt/wheels", "/opt/wheels", "./wheels"])
def test_a_folder_of_wheels_promises_nothing(folder: str, index: Index) -> None:
    index.forged.add(index.add("told", "1.0"))
    told = pin(index, "told")
    assert "evil" in MetadataReader(Memory()).read([told], [folder])["told"]
    with pytest.raises(UntrueError):
        MetadataReader(Memory()).read([told], [folder, index.url])


@pytest.mark.parametrize("page", [b"[]", b"{}", b'{"files": [{"filename": "a.whl", "hashes": null}]}', b"<html>"])
def test_a_page_that_is_none_is_told(page: bytes, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.add("told", "1.0")
    index.is_json = True
    monkeypatch.setattr("tests.wheels.index._page", lambda *_: page)
    with pytest.raises(UnavailableError, match="cannot be read"):
        MetadataReader(Memory()).read([pin(index, "told")], [index.url])


@pytest.mark.parametrize("has_ranges", [True, False])
def test_of_a_large_wheel_its_end_and_its_metadata_are_fetched(has_ranges: bool, index: Index, tmp_path: Path) -> None:
    index.has_ranges = has_ranges
    large = packages.padded(tmp_path, "large", "1.0", 300_000)
    index.files["large"] = {large.name: large.read_bytes()}
    index.hidden.add(large.name)
    # Its size is not known from its index.
    asked = replace(pin(index, "large"), size=None)
    assert "Name: large" in MetadataReader(Memory()).read([asked], [index.url])["large"]
    assert sum(path.endswith(".whl") for path in index.requests) == (2 if has_ranges else 1)


def test_a_server_that_gives_no_file_by_its_end_is_asked_for_the_same_bytes(index: Index, tmp_path: Path) -> None:
    index.has_ranges, index.has_suffixes = True, False
    large = packages.padded(tmp_path, "large", "1.0", 3_000_000)
    index.files["large"] = {large.name: large.read_bytes()}
    index.hidden.add(large.name)
    assert "Name: large" in MetadataReader(Memory()).read([pin(index, "large")], [index.url])["large"]
    # Not all of it, but its size, its end and its metadata; the first request's answer is not read.
    assert sum(path.endswith(".whl") for path in index.requests) == 4

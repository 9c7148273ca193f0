"""Versions are those that sequential installs come to: every case is installed for real as well, and compared."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from blake3 import blake3
from msgspec.structs import replace

from flytebuild.errors import DefinitionError, SourceChangedError, UnavailableError
from flytebuild.events import Event, Notice, ignore
from flytebuild.spec.layers import Command, PipOptions, PipPackages, Requirements, Secret
from flytebuild.spec.model import HostFolder, ImageSpec
from flytebuild.spec.tree import assemble
from flytebuild.wheels import lockfile
from flytebuild.wheels.arguments import Arguments
from flytebuild.wheels.base import Base
from flytebuild.wheels.environment import Installed
from flytebuild.wheels.lock import Lock
from flytebuild.wheels.metadata import MetadataReader
from flytebuild.wheels.questions import Question
from flytebuild.wheels.resolver import Moves, Resolver
from flytebuild.wheels.uv import Asking, Target, Uv
from tests.engine import packages
from tests.samples import AMD64, file_entry, made_of
from tests.wheels.desk import HERE, MINOR, Desk
from tests.wheels.index import PASSWORD, Index, served
from tests.wheels.memory import Memory


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with served(tmp_path_factory.mktemp("index")) as found:
        for version in ("1.0", "1.5", "2.0"):
            found.add("common", version)
        found.add("aa", "1.0", "common<2")
        found.add("bb", "1.0", "common")
        found.add("bb", "2.0", "common>=2")
        found.add("capped", "1.0", "common<1.2")
        found.add("leaf", "1.0")
        found.add("leaf", "1.1")
        found.add(
            "extra", "1.0", "leaf; extra == 'more'", "common; python_version < '3'", "aa; sys_platform == 'linux'"
        )
        found.add("early", "1.0")
        found.add("early", "2.0b1")
        found.add("withdrawn", "1.0")
        found.add("withdrawn", "1.1", is_yanked=True)
        found.add("user-of-other", "1.0", "other")
        found.add("silent", "1.0", "leaf<1.1", is_hidden=True)
        found.files["source"] = {"source-1.0.tar.gz": b"of no use"}
        yield found


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """What only another index has."""
    with served(tmp_path_factory.mktemp("others")) as found:
        found.add("other", "1.0+local", "leaf<1.1")
        yield found


@pytest.fixture(scope="module")
def desk(index: Index, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(index, tmp_path_factory.mktemp("desk"))


CASES: dict[str, list[tuple[str, ...]]] = {
    "a later cap": [("common",), ("common<2",)],
    "a dependency that caps": [("common",), ("aa",)],
    "one order": [("aa",), ("bb",)],
    "the other order": [("bb",), ("aa",)],
    "together": [("aa", "bb")],
    "what is there is kept": [("common<2",), ("bb",), ("common",)],
    "what is there is broken": [("capped",), ("common>=2",)],
    "an extra later, and markers": [("extra",), ("extra[more]",), ("leaf<2",)],
    "an early version that is asked for": [("early>=2.0b1",), ("early",)],
    "a withdrawn version that is asked for": [("withdrawn==1.1",), ("withdrawn",)],
}


@pytest.mark.parametrize("name", CASES)
def test_versions_are_those_of_sequential_installs(name: str, desk: Desk) -> None:
    layers = [desk.layer(*requirements) for requirements in CASES[name]]
    lock = desk.lock(*layers)
    assert lock.unlocked == ()
    assert desk.versions(lock, layers) == desk.install(layers)


def test_so_they_are_with_options_that_differ(desk: Desk, others: Index) -> None:
    """The layers above one with an index of its own know what is installed from there, and not the index."""
    layers = [
        desk.layer("early", pre=True),
        desk.layer("early", "common<2"),
        desk.layer("other", extra_index_urls=(others.url,)),
        desk.layer("user-of-other"),
        desk.layer("common", extra_args="--upgrade"),
        desk.layer("aa", extra_args="--no-deps"),
    ]
    lock = desk.lock(*layers)
    found = desk.versions(lock, layers)
    assert found == desk.install(layers)
    assert (found["early"], found["common"], found["other"], found["leaf"]) == ("2.0b1", "2.0", "1.0+local", "1.0")


def test_what_the_base_has_counts(desk: Desk) -> None:
    metadata = "Metadata-Version: 2.1\nName: common\nVersion: 1.5\n"
    base = replace(HERE, installed=(Installed("common", "1.5", metadata, ("py3-none-any",)),))
    (layer,) = desk.lock(desk.layer("bb<2", "common"), base=base).layers
    assert [(pin.name, pin.version) for pin in layer.pins] == [("bb", "1.0")]


def test_where_not_all_packages_of_the_base_are_seen_nothing_is_decided(desk: Desk) -> None:
    lock = desk.lock(desk.layer("leaf"), base=replace(HERE, unseen=("/opt/venv/old.egg-info",)))
    assert [layer.reason for layer in lock.unlocked] == [
        "what `/opt/venv/old.egg-info` of its base is cannot be seen without running it"
    ]


def test_pins_have_all_that_installing_needs_and_nothing_secret(desk: Desk, index: Index) -> None:
    options = PipOptions(index.private, secrets=(Secret("", "token", env="TOKEN"),))
    layers = (
        PipPackages(("common==1.0",), options),
        PipPackages(("silent",), options),
        PipPackages(("leaf",), options),
    )
    lock = desk.lock(*layers, secrets={"TOKEN": PASSWORD})
    (pin,) = lock.by_fingerprint[lock.layers[0].fingerprint].pins
    assert pin.url == f"http://{index.address}/private/common/{pin.filename}"
    assert pin.sha256 in lockfile.encode(lock)
    assert PASSWORD not in lockfile.encode(lock)
    assert desk.versions(lock, layers)["leaf"] == "1.0"
    assert pin.sha256 == sha256(index.files["common"][pin.filename]).hexdigest()
    with pytest.raises(
        UnavailableError, match=rf"the index `http://{index.address}/private` wants other cred"
    ) as caught:
        desk.lock(PipPackages(("common==1.5",), options), secrets={"TOKEN": f"{PASSWORD}x"})
    assert PASSWORD not in f"{caught.value.message} {caught.value.hint} {caught.value.details}"


@pytest.mark.parametrize("name", ["UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_FIND_LINKS"])
def test_that_an_index_wants_credentials_is_in_the_lock(name: str, desk: Desk, index: Index) -> None:
    """Whoever has them: an image must not be another one where they are not there, or come from elsewhere."""
    private = index.private.replace("${TOKEN}", PASSWORD)
    url = f"{private}/leaf/" if name == "UV_FIND_LINKS" else private
    environ = {"UV_INDEX_URL": f"{index.url}/nothing", name: url}
    lock = dataclasses.replace(desk, more=environ).lock(PipPackages(("leaf==1.0",)))
    assert [(layer.pins[0].version, layer.obstacle) for layer in lock.layers] == [
        ("1.0", "`127.0.0.1` wants credentials")
    ]
    assert PASSWORD not in lockfile.encode(lock)
    assert [layer.obstacle for layer in desk.lock(desk.layer("leaf==1.0")).layers] == [""]


def test_an_index_that_signs_its_urls(desk: Desk, index: Index) -> None:
    layers = [desk.layer(name, index_url=index.signed) for name in ("aa", "leaf")]
    lock = desk.lock(*layers)
    assert desk.versions(lock, layers) == {"aa": "1.0", "common": "1.5", "leaf": "1.1"}
    assert {layer.obstacle for layer in lock.layers} == {"`127.0.0.1` wants credentials"}
    assert PASSWORD not in lockfile.encode(lock)
    # The lock's URLs lead nowhere, so the index is asked again.
    again = dataclasses.replace(desk, memory=Memory()).lock(
        *layers, desk.layer("bb<2", index_url=index.signed), before=lock
    )
    assert [layer for layer in again.layers if layer.asked != "pip: bb<2"] == list(lock.layers)
    assert len(again.layers) == len(layers) + 1


def test_it_is_told_of_wheels_whose_size_nobody_says(desk: Desk, index: Index) -> None:
    own = dataclasses.replace(desk, told=[])
    index.has_sizes = False
    try:
        own.lock(own.layer("aa"), own.layer("common"))
    finally:
        index.has_sizes = True
    assert own.told == [
        Notice("`pip: aa` (main.py:1): 2 wheels, 2 of unknown size"),
        Notice("`pip: common` (main.py:2): nothing that is not there"),
    ]


def test_a_folder_of_the_host_s_is_none_of_a_step_s(desk: Desk, index: Index) -> None:
    layers = [desk.layer("leaf", index_url=index.url)]
    assert dataclasses.replace(desk, more={"UV_FIND_LINKS": str(desk.folder / "none")}).lock(*layers) == desk.lock(
        *layers
    )


@pytest.mark.parametrize("has_ranges", [True, False])
def test_metadata_is_read_from_wheels_where_an_index_does_not_tell_it(
    has_ranges: bool, desk: Desk, index: Index
) -> None:
    index.has_ranges = has_ranges
    try:
        lock = dataclasses.replace(desk, memory=Memory()).lock(desk.layer("silent"), desk.layer("leaf"))
    finally:
        index.has_ranges = True
    assert desk.versions(lock, [desk.layer("silent"), desk.layer("leaf")]) == {"silent": "1.0", "leaf": "1.0"}


def test_what_has_no_wheel_is_named_and_keeps_those_above_from_being_locked(desk: Desk) -> None:
    lock = desk.lock(desk.layer("leaf"), desk.layer("source"), desk.layer("common"))
    assert [layer.asked for layer in lock.layers] == ["pip: leaf"]
    assert {layer.asked: layer.reason for layer in lock.unlocked} == {
        "pip: source": "there is no wheel of `source` for this Python and platform",
        "pip: common": "`pip: source` below it is not locked",
    }


def test_no_code_of_a_package_runs_here(desk: Desk, index: Index, tmp_path: Path) -> None:
    """Not even to learn what a source distribution needs, nor where one is newer than all wheels."""
    trace = tmp_path / "trace"
    code = f"open({str(trace)!r}, 'w').close()\n"
    index.files["eager"] = {"eager-1.0.tar.gz": packages.sdist("eager", "1.0", code)}
    index.files["leaf"]["leaf-9.0.tar.gz"] = packages.sdist("leaf", "9.0", code)
    try:
        lock = desk.lock(desk.layer("leaf"), desk.layer("eager"))
    finally:
        del index.files["leaf"]["leaf-9.0.tar.gz"]
    assert [[(pin.name, pin.version) for pin in layer.pins] for layer in lock.layers] == [[("leaf", "1.1")]]
    assert [layer.reason for layer in lock.unlocked] == ["there is no wheel of `eager` for this Python and platform"]
    assert not trace.exists()


def test_an_image_keeps_no_other_one_from_being_locked(desk: Desk) -> None:
    layers = desk.layer("leaf==1.0"), desk.layer("common==1.0")
    blocked = made_of(layers[0], Command(shell="pip install leaf"), layers[1], python=MINOR)
    plain = made_of(*layers, python=MINOR)

    async def of(_: ImageSpec) -> Base:
        return HERE

    for specs in ({"a": {AMD64: blocked}, "b": {AMD64: plain}}, {"b": {AMD64: plain}, "a": {AMD64: blocked}}):
        metadata = MetadataReader(desk.memory)
        resolver = Resolver(Uv(desk.environ), metadata, of, lambda _, __: {}, str, Lock(), Moves(), ignore)
        found, unlocked = asyncio.run(resolver.layers(specs))
        assert {layer.asked: layer.environments for layer in found} == {
            "pip: leaf==1.0": ("a", "b"),
            "pip: common==1.0": ("b",),
        }
        assert [(layer.asked, layer.environments) for layer in unlocked] == [("pip: common==1.0", ("a",))]


def test_what_cannot_be_met_is_an_error_that_names_the_layer(desk: Desk) -> None:
    with pytest.raises(DefinitionError, match=r"`pip: aa, bb>=2` .* the requirements cannot be met$") as caught:
        desk.lock(desk.layer("aa", "bb>=2"))
    assert "bb>=2.0 depends on common>=2" in caught.value.details


@pytest.mark.parametrize(
    ("requirement", "said", "hint"),
    [
        ("common==99", "there is no `common` 99", "the one before it, for this Python and platform, is 2.0"),
        ("common==1.7", "there is no `common` 1.7", "the one before it, for this Python and platform, is 1.5"),
        ("common==0.1", "there is no `common` 0.1", "the newest, for this Python and platform, is 2.0"),
        ("common>9", "there is no version that `common>9` allows", "what there is: `common<=2.0`"),
        ("nobody", "no index that is asked has a package `nobody`", "`index_url`"),
    ],
)
@pytest.mark.parametrize("columns", ["40", "400"])
def test_what_is_not_there_is_named_with_what_is(
    columns: str, requirement: str, said: str, hint: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Desk, "environ", {**desk.environ, "COLUMNS": columns})
    with pytest.raises(DefinitionError) as caught:
        desk.lock(desk.layer("leaf", requirement))
    assert caught.value.message.endswith(f"cannot be locked: {said}")
    assert hint in (caught.value.hint or "")
    assert not caught.value.details


def test_an_index_that_does_not_answer_is_named(desk: Desk) -> None:
    asking = Asking(("leaf",), Arguments("http://127.0.0.1:1/simple"))
    with pytest.raises(UnavailableError, match=r"`http://127\.0\.0\.1:1/simple/leaf/` cannot be reached"):
        Uv({**desk.environ, "UV_HTTP_RETRIES": "0"}).changes(asking, Target(MINOR, "x86_64", (2, 28)), {})


def test_an_index_that_takes_questions_and_never_answers_is_waited_for_and_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flytebuild.wheels.resolver._PATIENCE", 0)
    told: list[Event] = []
    patient = dataclasses.replace(desk, more={"UV_HTTP_TIMEOUT": "1", "UV_HTTP_RETRIES": "0"}, told=told)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        with pytest.raises(UnavailableError, match=f"`{place}/leaf/` did not answer in time"):
            patient.lock(desk.layer("leaf", index_url=place))
    assert told == [Notice("`pip: leaf` (main.py:1): still waiting for uv, which asks the index")]


def test_a_layer_that_lacks_something_is_named_once(desk: Desk) -> None:
    def secrets(_: ImageSpec, question: Question) -> dict[str, str]:
        raise DefinitionError(f"{question.shown} needs the secret `TOKEN`, and there is none")

    async def of(_: ImageSpec) -> Base:
        return HERE

    resolver = Resolver(Uv(desk.environ), MetadataReader(desk.memory), of, secrets, str, Lock(), Moves(), ignore)
    with pytest.raises(DefinitionError) as caught:
        asyncio.run(resolver.layers({"a": {AMD64: made_of(desk.layer("leaf"), python=MINOR)}}))
    assert caught.value.message == "`pip: leaf` (main.py:1) needs the secret `TOKEN`, and there is none"


def test_a_cache_that_cannot_be_made_is_done_without(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    (layer,) = dataclasses.replace(desk, folder=tmp_path, memory=Memory()).lock(desk.layer("leaf==1.0")).layers
    assert [(pin.name, pin.version) for pin in layer.pins] == [("leaf", "1.0")]


def test_options_that_uv_does_not_take_are_not_called_a_conflict(desk: Desk) -> None:
    with pytest.raises(DefinitionError, match="uv does not take what it is asked") as caught:
        desk.lock(desk.layer("leaf", extra_args="--resolution best"))
    assert "best" in caught.value.details


def test_a_lock_stays_until_something_has_to_move(desk: Desk) -> None:
    old = desk.lock(desk.layer("common==1.0", "leaf==1.0"))
    (known,) = old.layers
    loose = desk.layer("common", "leaf")
    # As if it had been locked when there was nothing newer.
    (fresh,) = desk.lock(loose).layers
    before = Lock("", (), (replace(fresh, pins=known.pins),))
    assert desk.lock(loose, before=before).layers == before.layers
    (moved,) = desk.lock(loose, before=before, moves=Moves(frozenset({"common"}))).layers
    assert [(pin.name, pin.version) for pin in moved.pins] == [("common", "2.0"), ("leaf", "1.0")]
    (everything,) = desk.lock(loose, before=before, moves=Moves(everything=True)).layers
    assert everything == fresh
    # Another layer in its place keeps the versions as far as it can, and one on top takes them as they are.
    changed = desk.layer("common>1.2", "leaf", "bb<2")
    lock = desk.lock(changed, desk.layer("leaf"), before=before)
    assert desk.versions(lock, [changed, desk.layer("leaf")]) == {"common": "2.0", "leaf": "1.0", "bb": "1.0"}


def test_layers_above_one_that_moves_move_with_it(desk: Desk) -> None:
    layers = [desk.layer("common"), desk.layer("bb")]
    fresh = desk.lock(*layers)
    old = {layer.asked: layer for layer in desk.lock(desk.layer("common==1.0"), desk.layer("bb==1.0")).layers}
    entries = tuple(replace(layer, pins=old[f"{layer.asked}==1.0"].pins) for layer in fresh.layers)
    before = Lock("", (), entries)
    assert desk.versions(before, layers) == {"common": "1.0", "bb": "1.0"}
    lock = desk.lock(*layers, before=before, moves=Moves(frozenset({"common"})))
    assert desk.versions(lock, layers) == {"common": "2.0", "bb": "1.0"}


def requirements(folder: Path, **files: str) -> tuple[Requirements, dict[str, HostFolder]]:
    """A layer of requirements files, the first of which is `first`."""
    entries = []
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
        entries.append(file_entry(f"{name}.txt", blake3(text.encode()).hexdigest(), len(text)))
    tree = assemble(entries)
    return Requirements(tree, "first.txt"), {tree.digest: HostFolder(str(folder))}


def test_requirements_files_are_read_by_uv_with_all_that_they_include(
    desk: Desk, others: Index, tmp_path: Path
) -> None:
    layer, roots = requirements(
        tmp_path,
        first=f"-i {desk.index.url}\n--extra-index-url={others.url}  # ours\nother\n-r more.txt\n-c bounds.txt\n",
        more="common>=1.0 ; python_version > '3'\n",
        bounds="common<2\nleaf==1.0\n",
    )
    (locked,) = desk.lock(layer, roots=roots).layers
    assert {pin.name: pin.version for pin in locked.pins} == {"common": "1.5", "leaf": "1.0", "other": "1.0+local"}
    assert locked.where == ("-i", desk.index.url, "--extra-index-url", others.url)
    (tmp_path / "more.txt").write_text("leaf\n")
    with pytest.raises(SourceChangedError):
        desk.lock(layer, roots=roots)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("./folder", "`./folder` is not a version of an index"),
        ("x @ https://example.com/x-1-py3-none-any.whl", "is not a version of an index"),
        ("--no-binary :all:", "what `--no-binary` does"),
        ("six==${VERSION}", "depends on a variable"),
    ],
)
def test_lines_that_cannot_be_locked(line: str, reason: str, desk: Desk, tmp_path: Path) -> None:
    layer, roots = requirements(tmp_path, first=f"{line}\n")
    (entry,) = desk.lock(layer, roots=roots).unlocked
    assert reason in entry.reason

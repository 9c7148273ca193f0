"""Why something is built: by what this machine remembers, and on a new one by what the registry has."""

from __future__ import annotations

import json
import re
import secrets
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from flytebuild.amounts import size as told_size
from tests.engine.conftest import Workspace, repository_tags

pytestmark = pytest.mark.engine

MAIN = """
import flyte

env = flyte.TaskEnvironment(
    "why",
    image=flyte.Image.from_debian_base().with_pip_packages("{package}").with_source_folder("why/source", "/source"),
)


@env.task
def work() -> int:
    return 1
"""


def test_a_change_is_told_down_to_the_field_and_the_file(workspace: Workspace, tmp_path: Path) -> None:
    folder = workspace.folder / "why"
    workspace.write({"why/main.py": MAIN.format(package="six==1.16.0"), "why/source/a.py": "1", "why/source/b.py": "1"})
    main = str(folder / "main.py")

    (first,) = workspace.plan(main)["images"]
    assert (first["status"], first["earlier"], first["changes"]) == ("missing", None, [])
    assert first["reason"] == f"new environment, not in `{first['reference'].rpartition(':')[0]}`"
    workspace.flytebuild("build", main)
    (built,) = workspace.plan(main)["images"]
    assert (built["status"], built["changes"]) == ("present", [])

    workspace.write({"why/source/b.py": "2"})
    (edited,) = workspace.plan(main)["images"]
    assert edited["earlier"] == first["digest"]
    assert [(item["words"], item["field"]) for item in edited["changes"]] == [("`why/source/b.py` changed", "tree")]
    assert statuses(edited) == ["present"] * 4 + ["missing"], "the layers of the image before count as there"

    workspace.write({"why/main.py": MAIN.format(package="six==1.17.0")})
    here = workspace.plan(main)["images"][0]["changes"]
    assert [item["words"] for item in here] == ["pip: six 1.16.0 → 1.17.0", "`why/source/b.py` changed"]
    assert all(item["origin"].endswith("main.py:6") for item in here)
    text = workspace.flytebuild("plan", main).stdout
    assert "to build: pip: six 1.16.0 → 1.17.0 (why/main.py:6); `why/source/b.py` changed (why/main.py:6)" in text

    # A machine that has seen nothing asks the registry, which knows trees by their digests alone.
    elsewhere = str(tmp_path / "new-machine")
    (there,) = workspace.plan(main, HOME=elsewhere)["images"]
    assert there["earlier"] == first["digest"]
    assert [item["words"] for item in there["changes"]] == [
        "pip: six 1.16.0 → 1.17.0",
        "files of `copy: source → /source` changed",
    ]

    assert workspace.flytebuild("diff", "why", "--in", main).stdout.splitlines()[2:] == [
        "  pip: six 1.16.0 → 1.17.0  (why/main.py:6)",
        "  `why/source/b.py` changed  (why/main.py:6)",
    ]
    tag = first["reference"].rpartition(":")[2]
    done = workspace.flytebuild("diff", f"why@{tag}", "why", "--in", main, "--json", "--exit-code", code=2)
    document = json.loads(done.stdout)
    assert document["before"] == {"name": f"why@{tag}", "digest": first["digest"]}
    assert [item["layer"] for item in document["changes"]] == [layer["digest"] for layer in there["layers"][-2:]]
    alone = workspace.flytebuild("diff", f"why@{tag}", "--in", main, "--json")
    assert json.loads(alone.stdout) == document, "an image alone is compared with what its environment is now"
    same = workspace.flytebuild("diff", first["reference"], first["reference"], "--exit-code")
    assert same.stdout.endswith("the same image\n")
    missing = workspace.flytebuild("diff", "why@b3-0", "why", "--in", main, code=64)
    assert "There is no image" in missing.stderr

    explained = json.loads(workspace.flytebuild("explain", "why", "--in", main, "--json").stdout)
    parts = explained["images"][0]["parts"]
    assert parts[-1]["digest"] == there["digest"]
    assert all(
        blake3(item["canonical"].encode(), derive_key_context=item["context"]).hexdigest() == item["digest"]
        for item in parts
    )
    assert there["digest"] in workspace.flytebuild("explain", "why", "--in", main).stdout

    workspace.flytebuild("graph", "-o", "plan.html", main)
    page = (workspace.folder / "plan.html").read_text()
    assert "pip: six 1.16.0 → 1.17.0" in page
    assert re.search(r"pip: six==1.1.*</li>", page)
    assert workspace.flytebuild("graph", "--format", "mermaid", main).stdout.startswith("flowchart LR")
    refused = workspace.flytebuild("graph", "-o", "nowhere/plan.html", main, code=74)
    assert "`nowhere/plan.html` cannot be written: No such file or directory" in refused.stderr

    leftover = workspace.flytebuild("prune", main)
    assert leftover.stdout.endswith("Nothing is left over\n"), "the last image of an environment is none"
    workspace.flytebuild("build", main)
    workspace.flytebuild("prune", main)
    shown = json.loads(workspace.flytebuild("prune", "--json", main).stdout)
    (old,) = shown["images"]
    assert old["references"] == [first["reference"]]
    assert abs(datetime.now(timezone.utc) - datetime.fromisoformat(old["made"])) < timedelta(days=1)
    assert old["bytes"] > old["own"] == shown["bytes"] > 0, "the base is that of the image that stays"
    assert first["reference"] in workspace.flytebuild("prune", main).stdout
    assert repository_tags(workspace.registry) == {tag, there["reference"].rpartition(":")[2]}, "shown, not deleted"
    deleted = workspace.flytebuild("prune", "--yes", main).stdout
    assert deleted.endswith(f"Deleted 1 image, and up to {told_size(old['own'])} of layers with it\n")
    assert repository_tags(workspace.registry) == {there["reference"].rpartition(":")[2]}
    (present,) = workspace.plan(main)["images"]
    assert present["status"] == "present"

    sizes = json.loads(workspace.flytebuild("size", "--json", "main.py", main).stdout)
    assert (len(sizes["images"]), len(sizes["not_there"])) == (1, 3)
    within = workspace.flytebuild("size", "--budget", "9GB", "main.py", main)
    assert "are not compared with the budget: `flytebuild build` first" in within.stderr


CACHE = "flytebuild-cache"


def statuses(image: dict[str, Any]) -> list[str]:
    return [layer["status"] for layer in image["layers"]]


def test_what_a_layer_took_is_expected_of_it_the_next_time(workspace: Workspace) -> None:
    code = """
import flyte

image = flyte.Image.from_debian_base(){before}.with_commands(["echo {token}"]).with_source_folder("source", "/source")
env = flyte.TaskEnvironment("timed", image=image)
"""
    token = secrets.token_hex(8)
    workspace.write({"timed.py": code.format(before="", token=token), "source/a": "12345"})
    # What a plan was answered is fresh for an hour here, and not after a build.
    hour = {"FLYTEBUILD_FRESH": "3600"}
    expected = workspace.plan("timed.py", **hour)["forecast"]
    assert expected["untimed"] > 0
    workspace.flytebuild("build", "timed.py", **hour)
    assert workspace.plan("timed.py", **hour)["forecast"] is None
    offline = workspace.plan("timed.py", "--offline")
    assert [image["status"] for image in offline["images"]] == ["present"]
    assert offline["as_of"] is not None

    # What the registry was given was measured, layer by layer.
    size = json.loads(workspace.flytebuild("size", "--json", "timed.py").stdout)
    drawn = json.loads(workspace.flytebuild("graph", "--json", "timed.py").stdout)["layers"]
    measured = {item["digest"]: item["bytes"] for item in drawn if item["kind"] != "base"}
    assert None not in measured.values()
    # Steps that change nothing leave one and the same layer, which the registry has once.
    assert sum(set(measured.values())) == size["bytes"] - expected["download"], "but for the base"

    workspace.write({"timed.py": code.format(before=".with_env_vars({'A': 'b'})", token=token)})
    document = workspace.plan("timed.py", "-o", "kept.json")
    known = document["forecast"]
    command = next(item["digest"] for item in document["images"][0]["layers"] if item["kind"] == "command")
    assert {item["digest"]: item["seconds"] for item in known["layers"]}[command] > 0
    assert command in known["critical"]
    assert known["seconds"] == known["critical_seconds"] > 0
    assert known["download"] > 1_000_000
    assert known["send"] == 5
    made = {item["digest"] for item in known["layers"]}
    names = {item["summary"] for item in document["images"][0]["layers"] if item["digest"] in made}
    assert known["push"] == sum(measured[item["digest"]] for item in drawn if item["summary"] in names)
    assert known["unmeasured"] == 0
    kept = json.loads((workspace.folder / "kept.json").read_text())["plan"]["forecast"]
    assert (kept["push"], kept["critical"]) == (known["push"], known["critical"])

    # What is in the cache goes only where no code needs it that is given, and when it is as old as is said.
    other = code.replace("from_debian_base()", "from_debian_base(install_flyte=False)")
    workspace.write({"other.py": other.format(before="", token=token)})

    def pruned(*arguments: str) -> list[dict[str, Any]]:
        shown = json.loads(workspace.flytebuild("prune", "--json", "--cache", *arguments).stdout)
        found: list[dict[str, Any]] = shown["cache"]
        return found

    assert pruned("--older-than", "0", "timed.py") == pruned("other.py") == []
    (old,) = pruned("--older-than", "0", "other.py")
    assert old["bytes"] > 0
    assert {name.rpartition(":")[2] for name in old["references"]} == repository_tags(workspace.registry, CACHE)
    told = workspace.flytebuild("prune", "--yes", "--cache", "--older-than", "0", "other.py").stdout
    assert told.endswith(f"Deleted 1 manifest of the cache, and up to {told_size(old['bytes'])} of layers with it\n")
    assert repository_tags(workspace.registry, CACHE) == set()

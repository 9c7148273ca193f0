"""Plans as pictures: what they hold is in them, once, and nothing breaks out of its quotes."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from msgspec.structs import replace

from flytebuild.drawing.document import document
from flytebuild.drawing.dot import dot
from flytebuild.drawing.forest import bare, forest, levels
from flytebuild.drawing.html import html
from flytebuild.drawing.mermaid import mermaid
from flytebuild.facts import Absent
from flytebuild.plan import ImagePlan, Observation, Plan, make_plan
from flytebuild.plan.experience import NOTHING
from flytebuild.spec.layers import Pin, Pinned, WheelLayer
from flytebuild.why import Change
from tests.samples import AMD64, UV, Seen, made_of
from tests.test_plan import NODES, SPECS, plan, present, target, variants

NASTY = 'a"b<c>&`d`\\#e'


def nasty() -> Plan:
    """A plan whose texts are not what they seem to be."""
    planned = plan({target(SPECS["fold"]): present(SPECS["fold"])})
    images = tuple(
        replace(
            image,
            layers=tuple(replace(layer, summary=f"{NASTY} {layer.summary}") for layer in image.layers),
            changes=(Change(None, "base", NASTY, origin=NASTY),),
        )
        for image in planned.images
    )
    external = ImagePlan("docker.io/library/x:1", "external", "used as it is", ("other",))
    return replace(planned, images=(*images, external))


class Reader(HTMLParser):
    """Checks that every element is closed where it should be, and keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "rect", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "rect", "path"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_what_images_share_is_in_a_forest_once() -> None:
    planned = plan({})
    (root,) = forest(planned)
    summaries = [node.layer.summary.partition(":")[2].strip() or node.layer.kind for node in root.walk()]
    assert [node.layer.kind for node in root.walk()] == ["base", "uv", "venv", "pip", "pip", "pip"]
    assert summaries[-3:] == ["ruff", "pytest", "pytest"]
    assert root.users == 3
    found = [image.environments for node in root.walk() for image in node.images]
    assert sorted(found) == [("fold",), ("main",), ("msa",)]
    assert [image.reference for image in bare(nasty())] == ["docker.io/library/x:1"]
    assert levels(planned) == {"fold": 0, "msa": 0, "main": 1}


def test_dot_names_every_part_once_and_closes_its_quotes() -> None:
    text = dot(nasty())
    strings = re.findall(r'"(?:[^"\\]|\\.)*"', text)
    assert '"' not in re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    names = re.findall(r'^  ("(?:[^"\\]|\\.)*") \[label', text, re.M)
    assert len(names) == len(set(names)) == 3 + 4 + 6
    edges = re.findall(r'("(?:[^"\\]|\\.)*") -> ("(?:[^"\\]|\\.)*")', text)
    assert {end for edge in edges for end in edge} <= set(names)
    assert any("pip: ruff" in item for item in strings)


def test_mermaid_names_every_part_once() -> None:
    text = mermaid(nasty())
    names = re.findall(r"^  (\w+)[\[(]", text, re.M)
    assert len(names) == len(set(names)) == 3 + 4 + 6
    edges = re.findall(r"^  (\w+) (?:-->|==>) (\w+)$", text, re.M)
    assert {end for edge in edges for end in edge} <= set(names)
    labels = re.findall(r'"([^"]*)"', text)
    assert len(labels) == len(names)
    assert not any(mark in label for label in labels for mark in "<>")


def test_the_page_is_whole_and_says_what_the_plan_says() -> None:
    planned = nasty()
    seen = Seen({f"{NASTY} pip: ruff": 3.25}, {f"{NASTY} pip: ruff": 1_500_000})
    reader = Reader()
    reader.feed(html(planned, "4 images, 2 to build", seen))
    assert reader.open == []
    text = "".join(reader.texts)
    assert text.count(NASTY.replace("`", "") + " pip: ruff") + text.count(NASTY + " pip: ruff") == 1
    assert "3.2 s · 1.5 MB" in text
    for image in planned.images:
        assert image.reference in text
        assert all(name in text for name in image.environments)
    assert "<script" not in html(planned, "", NOTHING)


def test_wheel_layers_are_listed_with_the_images_that_have_them() -> None:
    shared = WheelLayer((Pin("numpy", "2.3.5", "n.whl", "1" * 64, size=16_900_000),), UV, "3.11", AMD64, "/opt/venv")
    specs = dict.fromkeys(("fold", "msa", "main"), made_of(Pinned(shared.pins, "layers", layers=(shared,))))
    planned = make_plan(NODES, variants(specs), None, {target(specs["main"]): Observation(Absent())})
    page = html(planned, "", Seen({"wheel: numpy 2.3.5 (Python 3.11)": 4.5}))
    (listed,) = re.findall(r"<h2>Wheel layers</h2>(.*)", page, re.DOTALL)
    assert f"<code>{shared.key[:8]}</code> wheel: numpy 2.3.5" in listed
    assert "16.9 MB · 4.5 s" in listed
    assert [name in listed for name in specs] == [True, True, True]
    found = document(planned, NOTHING)
    assert found["wheel_layers"] == [
        {
            "key": shared.key,
            "summary": "wheel: numpy 2.3.5",
            "status": "missing",
            "bytes": 16_900_000,
            "seconds": None,
            "images": [target(specs["main"])],
        }
    ]
    assert found["layers"][-1]["wheel_layers"] == [shared.key]


def test_an_empty_plan_is_drawn() -> None:
    nothing = Plan((), ())
    reader = Reader()
    reader.feed(html(nothing, "No environments", NOTHING))
    assert reader.open == []
    assert dot(nothing).splitlines()[0] == "digraph flytebuild {"
    assert mermaid(nothing).startswith("flowchart LR")


def test_the_critical_path_is_that_of_what_is_to_be_built_and_says_so() -> None:
    seen = Seen({"pip: ruff": 9.0, "pip: pytest": 3.0})
    planned = plan({target(SPECS["fold"]): present(SPECS["fold"])})
    fold, msa, main = planned.images
    ruff, msa_pytest, main_pytest = fold.layers[-1].digest, msa.layers[-1].digest, main.layers[-1].digest
    found = document(planned, seen)
    assert found["critical_to_build"] == [msa_pytest], "the first of equals"
    assert found["critical"][-2:] == [ruff, main_pytest]
    there = plan({target(item): present(item) for item in SPECS.values()})
    assert document(there, seen)["critical_to_build"] == []
    for shown, legend in ((planned, "of what is to be built"), (there, "of building everything anew")):
        assert f'"critical path: {legend}"' in dot(shown, seen)
        assert f'key["critical path: {legend}"]' in mermaid(shown, seen)
        assert f'<strong>critical path</strong> <span class="quiet">{legend}</span>' in html(shown, "", seen)
    assert dot(planned, seen).count("penwidth=3") == 1
    assert "critical path" not in html(planned, "", NOTHING)

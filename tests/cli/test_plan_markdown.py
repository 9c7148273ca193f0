"""What GitHub and its like are given of a plan."""

import pytest
from msgspec.structs import replace

from flytebuild.cli.plan_markdown import markdown
from tests.test_plan import SPECS, plan, present, target


def test_what_is_to_be_done_comes_first_and_the_rest_is_folded() -> None:
    lines = markdown(plan({target(SPECS["fold"]): present(SPECS["fold"])})).splitlines()
    folded = lines.index("<details><summary>Nothing to do for 1 image</summary>")
    rows = {line.split("**")[1]: number for number, line in enumerate(lines) if "**" in line}
    assert rows["msa"] < rows["main"] < folded < rows["fold"]
    unchanged = markdown(plan({target(item): present(item) for item in SPECS.values()})).splitlines()
    assert unchanged[:3] == [
        "### 3 images, nothing to build",
        "",
        "<details><summary>Nothing to do for 3 images</summary>",
    ]


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("`src/my_model.py` changed", "`src/my_model.py` changed"),
        ("pip: a_b >=1 → >=2 [x]", "pip: a\\_b &gt;=1 → &gt;=2 \\[x\\]"),
        ("`a|b` and c|d", "`a\\|b` and c\\|d"),
        ("`<b>` <b>", "`<b>` &lt;b&gt;"),
        ("one ` alone <b>", "one ` alone &lt;b&gt;"),
        ("two `` and ` <b>", "two `` and ` &lt;b&gt;"),
        ("lines\nof many", "lines of many"),
    ],
)
def test_words_are_no_markup_and_code_stays_code(reason: str, shown: str) -> None:
    planned = plan({target(SPECS["fold"]): present(SPECS["fold"])})
    images = tuple(replace(image, reason=reason) if image.status == "missing" else image for image in planned.images)
    rows = [line for line in markdown(replace(planned, images=images)).splitlines() if line.startswith("| `+`")]
    assert rows
    assert all(row.endswith(f"| to build: {shown} |") for row in rows)

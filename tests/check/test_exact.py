"""What was seen in images, in the place of what was expected of them."""

import json
from collections.abc import Sequence

from flytebuild.check.exact import Answer, merge
from flytebuild.check.finding import Finding

PLACES = {"env": "main.py:5", "other": "other.py:3"}


def whose(_: str, module: str) -> tuple[Sequence[str], str]:
    return ["other"], f"{module}==1"


def expected(level: str, *modules: str) -> Finding:
    return Finding("missing-package", level, "expected", "env", "main.py", 1, "static", modules=modules)  # type: ignore[arg-type]


def failure(missing: str | None, module: str = "main") -> dict[str, object]:
    return {
        "module": module,
        "type": "ModuleNotFoundError" if missing else "ValueError",
        "message": f"No module named {missing!r}" if missing else "",
        "missing": missing,
        "frames": [["main.py", 2, "<module>", "import x"], ["deep/x.py", 7, "f", ""]],
    }


def told(findings: Sequence[Finding]) -> list[tuple[str, str, str]]:
    return [(item.rule, item.level, item.message) for item in findings]


def test_a_failure_takes_the_place_of_what_was_expected() -> None:
    answer = Answer((failure("torch"), failure("torch", "again")), frozenset({"torch", "pandas"}))
    found = merge([expected("error", "torch"), expected("unknown", "pandas", "numpy")], {"env": answer}, whose, PLACES)
    assert told(found) == [
        (
            "import-fails",
            "error",
            "`main` cannot be imported in the image of `env`: ModuleNotFoundError: No module named 'torch'; "
            "that of `other` has it",
        ),
        ("missing-package", "error", "The image of `env` lacks `pandas`: it was looked for there"),
    ]
    first, second = found
    assert (first.place, first.hint) == (
        "deep/x.py:7",
        'add `.with_pip_packages("torch==1")` to the image of `env` (main.py:5)',
    )
    assert first.details == 'File "main.py", line 2, in <module>\n  import x\nFile "deep/x.py", line 7, in f'
    assert second.hint == 'add `.with_pip_packages("pandas==1")` to the image of `env` (main.py:5)'


def test_what_is_there_after_all_is_no_finding_and_others_stay() -> None:
    others = [Finding("depends-on", "error", "a call", "env"), Finding("missing-package", "error", "x", "else")]
    found = merge([expected("error", "torch"), *others], {"env": Answer()}, whose, PLACES)
    assert found == tuple(others)


def test_an_error_of_the_user_s_own() -> None:
    (found,) = merge([], {"env": Answer((failure(None),))}, whose, PLACES)
    assert found.message == "`main` cannot be imported in the image of `env`: ValueError: no message"
    assert found.hint == ""


def test_an_image_without_an_answer_is_unknown() -> None:
    answer = Answer.parse(127, "", "python: not found\n")
    kept = expected("unknown", "torch")
    found = merge([kept], {"env": answer}, whose, PLACES)
    assert told(found[:1]) == [
        (
            "import-fails",
            "unknown",
            "Whether the modules of `env` can be imported in its image is not known: "
            "Python ended there with exit code 127, and no answer",
        )
    ]
    assert found[0].details == "python: not found"
    assert found[1] == kept


def test_an_answer_is_read() -> None:
    document = {"failures": [failure("torch")], "absent": ["torch"]}
    assert Answer.parse(0, json.dumps(document), "") == Answer((failure("torch"),), frozenset({"torch"}))

from __future__ import annotations

from dataclasses import replace

from flyteidl2.core import literals_pb2 as core

from flytebuild.runtime.logs import Line
from flytebuild.runtime.model import Attempt, Failure, Phase, Transition
from flytebuild.runtime.web.documents import action_document
from flytebuild.runtime.web.literals import plain
from flytebuild.runtime.web.pages import View, missing_page, respond, run_page, runs_page
from flytebuild.runtime.web.values import Values
from tests.runtime import samples

EVIL = "<script>alert('x')</script>&\""


def views() -> list[View]:
    attempt = Attempt(
        *(
            1,
            "s3://x",
            (Transition(Phase.QUEUED, samples.NOW), Transition(Phase.FAILED, samples.NOW)),
            EVIL,
            EVIL,
            EVIL,
        ),
        exit_code=3,
    )
    root = replace(
        samples.action(spec=samples.task_spec(f"{EVIL}.{EVIL}")),
        phase=Phase.FAILED,
        attempts=(attempt,),
        failure=Failure(EVIL, EVIL),
        ended=samples.NOW,
        group=EVIL,
    )
    log = ([Line(None, EVIL)], True)
    child = replace(samples.action("c1", "a0"), phase=Phase.ABORTED, abort_reason=EVIL, ended=samples.NOW)
    return [
        View(root, Values({EVIL: EVIL}), Values({EVIL: [EVIL]}), log),
        View(child, Values(problem=EVIL), Values(problem=EVIL), ([], False)),
    ]


def test_everything_from_outside_is_escaped() -> None:
    run = replace(samples.run(), project=EVIL, domain=EVIL)
    for page in (run_page(run, views()[0].action, views()), runs_page([(run, views()[0].action)]), missing_page(EVIL)):
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        assert page.count("<script>") == 1


def test_a_run_shows_its_actions_as_a_tree() -> None:
    page = run_page(samples.run(), views()[0].action, views())
    assert (
        page.index("<code>a0</code>")
        < page.index("<ul>", page.index("<code>a0</code>"))
        < page.index("<code>c1</code>")
    )
    assert "Exit code" in page
    assert "/api/runs/r1/actions/a0/logs" in page


def test_only_a_run_under_way_refreshes() -> None:
    root = samples.action()
    assert "data-events='/api/runs/r1/events'" in run_page(samples.run(), root, [])
    assert "data-events=''" in run_page(samples.run(), replace(root, phase=Phase.SUCCEEDED), [])


def test_no_runs_yet() -> None:
    assert "Nothing has run yet" in runs_page([])


def test_the_policy_allows_only_our_own() -> None:
    policy = dict(respond("x").headers)["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_literals_become_plain_values() -> None:
    def text(value: str) -> core.Literal:
        return core.Literal(scalar=core.Scalar(primitive=core.Primitive(string_value=value)))

    literals = core.Literal(collection=core.LiteralCollection(literals=[text("a"), text("b")]))
    mapping = core.Literal(map=core.LiteralMap(literals={"k": literals}))
    assert plain(mapping) == {"k": ["a", "b"]}
    assert plain(core.Literal(scalar=core.Scalar(none_type=core.Void()))) is None
    assert plain(core.Literal(scalar=core.Scalar(blob=core.Blob(uri="s3://x")))) == "s3://x"
    assert plain(core.Literal(scalar=core.Scalar(union=core.Union(value=text("u"))))) == "u"
    number = core.Literal(scalar=core.Scalar(primitive=core.Primitive(integer=7)))
    assert plain(number) == 7
    packed = core.Literal(scalar=core.Scalar(binary=core.Binary(value=b"\x81\xa1a\x01", tag="msgpack")))
    assert plain(packed) == {"a": 1}
    odd = b"\x84\x01\xc4\x02ab\xa1n\xcb\x7f\xf8\0\0\0\0\0\0\xa1e\xc7\x01\x05x\x92\x01\x02\xc0"
    packed = core.Literal(scalar=core.Scalar(binary=core.Binary(value=odd, tag="msgpack")))
    assert plain(packed) == "<27 bytes of msgpack>", "a list cannot be a key"
    odd = b"\x83\x01\xc4\x02ab\xa1n\xcb\x7f\xf8\0\0\0\0\0\0\xa1e\xc7\x01\x05x"
    packed = core.Literal(scalar=core.Scalar(binary=core.Binary(value=odd, tag="msgpack")))
    assert plain(packed) == {"1": "<2 bytes>", "n": "NaN", "e": [5, "<1 bytes>"]}
    infinite = core.Literal(scalar=core.Scalar(primitive=core.Primitive(float_value=float("-inf"))))
    assert plain(infinite) == "-Infinity"
    other = core.Literal(scalar=core.Scalar(binary=core.Binary(value=b"1234")))
    assert plain(other) == "<4 bytes>"


def test_an_earlier_attempt_says_why_it_failed_and_leads_to_its_log() -> None:
    first = Attempt(
        1,
        "s3://x",
        (Transition(Phase.QUEUED, samples.NOW), Transition(Phase.FAILED, samples.NOW)),
        failure=Failure("ValueError", EVIL),
        exit_code=1,
    )
    second = Attempt(2, "s3://y", (Transition(Phase.SUCCEEDED, samples.NOW),))
    action = replace(samples.action(), phase=Phase.SUCCEEDED, attempts=(first, second), ended=samples.NOW)
    page = run_page(samples.run(), action, [View(action, Values(), Values(), ([], False))])
    assert "Attempt 1 failed: ValueError: &lt;script&gt;" in page
    assert "<script>alert" not in page
    assert f"/api/runs/{action.key.run}/actions/{action.key.name}/logs?attempt=1" in page
    document = action_document(action)
    assert document["attempts"] == [
        {
            "number": 1,
            "phase": "FAILED",
            "container": None,
            "pulled": None,
            "begun": None,
            "started": None,
            "heard": None,
            "ended": samples.NOW.isoformat(),
            "exit_code": 1,
            "error": {"code": "ValueError", "message": EVIL, "kind": "user"},
        },
        {
            "number": 2,
            "phase": "SUCCEEDED",
            "container": None,
            "pulled": None,
            "begun": None,
            "started": None,
            "heard": None,
            "ended": samples.NOW.isoformat(),
            "exit_code": None,
        },
    ]

"""What people see of a run."""

from collections.abc import Sequence
from typing import Any

from flytebuild.cli.run_text import RunLines, culprit, failed, frames, next_step, short_image, summary

IMAGE = "r.example/team/flyte:b3-" + "0123456789ab" + "0" * 20
NO_FOLD = {"code": "ValueError", "message": "no fold", "kind": "user"}
LOG = """\
[flyte] WARNING Flyte runtime started for action 5fw
Traceback (most recent call last):
  File "/home/flyte/././wf.py", line 1, in caught
    raise KeyError
KeyError
[r1][5fw] [flyte] ERROR Task failed with error: no fold
Traceback (most recent call last):
  File "/opt/venv/lib/python3.11/site-packages/flyte/_task.py", line 711, in execute
    v = await self.func(*args, **kwargs)
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/home/flyte/././fold/run.py", line 12, in fold
    return helper(x)
           ^^^^^^^^^
  File "/home/flyte/././fold/run.py", line 7, in helper
    raise ValueError("no fold")
ValueError: no fold
[flyte] ERROR Task fold_env.fold failed with error: Error(err=code: "ValueError"
"""


def action(name: str, parent: str | None, task: str, phase: str = "RUNNING", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "parent": parent,
        "kind": "task",
        "task": task,
        "environment": task.partition(".")[0],
        "phase": phase,
        "image": IMAGE if task.startswith("env.") else "python:3.11",
        "started": "2026-01-31T12:00:00+00:00",
        "ended": "2026-01-31T12:00:01.500000+00:00" if phase not in ("RUNNING", "QUEUED") else None,
        "attempt": 1,
        **fields,
    }


def told(*documents: Sequence[dict[str, Any]]) -> list[list[str]]:
    lines = RunLines()
    return [[line.plain for line in lines.take(actions)] for actions in documents]


def document(*actions: dict[str, Any]) -> dict[str, Any]:
    return {"run": "r1", "phase": actions[0]["phase"], "actions": list(actions)}


def test_lines_are_short_and_tell_calls_of_one_task_apart() -> None:
    root = action("a0", None, "env.main")
    children = [action("x", "a0", "fold_env.fold"), action("y", "a0", "fold_env.fold", "QUEUED", image=None)]
    later = [action("x", "a0", "fold_env.fold", "SUCCEEDED"), action("y", "a0", "fold_env.fold")]
    assert told([root], [root, *children], [root, *children], [root, *later]) == [
        ["  env runs in image 0123456789ab", "  running    env.main"],
        ["  fold_env runs in image python:3.11", "  running      fold_env.fold #1"],
        [],
        ["  succeeded    fold_env.fold #1  1.5 s", "  running      fold_env.fold #2"],
    ]


def test_a_retry_is_told_once_with_its_reason_where_that_is_known() -> None:
    between = action("x", "a0", "env.fold", "QUEUED", error=NO_FOLD)
    second = action("x", "a0", "env.fold", attempt=2)
    why = "  retrying   env.fold #1  attempt 1 failed (ValueError: no fold), trying again"
    image = "  env runs in image 0123456789ab"
    assert told([between], [second]) == [[why], [image, "  running    env.fold #1"]]
    # Both attempts failed between two looks.
    third = action("x", "a0", "env.fold", attempt=3, attempts=[{"number": 1, "error": NO_FOLD}, {"number": 2}, {}])
    assert told([third]) == [
        [
            why,
            "  retrying   env.fold #1  attempt 2 failed, trying again",
            image,
            "  running    env.fold #1",
        ]
    ]


def test_the_reason_is_told_where_it_was_raised_only() -> None:
    actions = [
        action("a0", None, "env.main", "FAILED", error=NO_FOLD),
        action("x", "a0", "env.fold", "FAILED", error=NO_FOLD),
        action("y", "a0", "env.other", "TIMED_OUT", error={"code": "Timeout", "message": "it took too long"}),
    ]
    assert told(actions) == [
        [
            "  env runs in image 0123456789ab",
            "  failed     env.main  1.5 s",
            "  failed       env.fold #1  ValueError: no fold  1.5 s",
            "  timed out    env.other #1  Timeout: it took too long  1.5 s",
        ]
    ]


def test_the_task_that_raised_is_named_and_not_those_that_passed_its_error_on() -> None:
    wrapped = {"code": "RuntimeError", "message": "the middle says: no fold"}
    why = failed(
        document(
            action("a0", None, "env.main", "FAILED", error=wrapped),
            action("y", "a0", "env.middle", "FAILED", error={"code": "KeyError", "message": "'caught'"}),
            action("m", "a0", "env.middle", "FAILED", error=wrapped),
            action("x", "m", "fold_env.fold", "FAILED", error=NO_FOLD, attempt=2),
        ),
        LOG,
    )
    assert why.action == "x"
    assert why.message == "Run `r1` failed in `fold_env.fold` #1, attempt 2: ValueError: no fold"
    assert why.details.splitlines() == [
        "  fold/run.py:12 in fold",
        "    return helper(x)",
        "  fold/run.py:7 in helper",
        '    raise ValueError("no fold")',
    ]


def test_an_error_that_was_answered_with_another_one_is_the_parent_s() -> None:
    own = {"code": "KeyError", "message": "'answer'"}
    actions = [
        action("a0", None, "env.main", "FAILED", error=own),
        action("x", "a0", "env.fold", "FAILED", error=NO_FOLD),
    ]
    assert culprit(actions)["name"] == "a0"
    assert failed(document(*actions)).message == "Run `r1` failed in `env.main`: KeyError: 'answer'"


def test_a_message_of_several_lines_is_shown_below_the_traceback() -> None:
    error = {"code": "NonZeroExit", "message": "The container ended with exit code 3; the end of its log:\none\ntwo"}
    why = failed(document(action("a0", None, "env.main", "FAILED", error=error)))
    assert why.message == "Run `r1` failed in `env.main`: NonZeroExit: The container ended with exit code 3 …"
    assert why.details.splitlines()[1:] == ["  one", "  two"]


def test_runs_that_were_aborted_or_say_nothing() -> None:
    aborted = action("a0", None, "env.main", "ABORTED", error={"code": "Aborted", "message": "interrupted"})
    assert failed(document(aborted)).message == "Run `r1` was aborted: Aborted: interrupted"
    assert failed(document(action("a0", None, "env.main", "TIMED_OUT"))).message == "Run `r1` timed out"


def test_logs_without_frames_of_the_user_s() -> None:
    assert frames("") == ()
    assert frames("Task failed with error: x\nno traceback") == ()


def test_long_errors_are_cut() -> None:
    assert len(summary({"code": "ValueError", "message": "x" * 500})) == 120
    assert summary({"code": "ValueError", "message": ""}) == "ValueError"
    assert summary({"message": "it is gone"}) == "it is gone"


def test_images_are_called_as_in_the_plan() -> None:
    assert short_image(IMAGE) == "0123456789ab"
    assert short_image("ghcr.io/acme/own:1") == "ghcr.io/acme/own:1"


def test_an_image_that_is_pulled_is_told_once_for_its_environment() -> None:
    waiting = action("a0", None, "env.main", "INITIALIZING", waiting_for="pulling its image, 3 of 40 MB")
    assert told([waiting], [waiting], [action("a0", None, "env.main")]) == [
        ["  env waits for image 0123456789ab, which is pulled"],
        [],
        ["  env runs in image 0123456789ab", "  running    env.main"],
    ]


def test_an_image_that_is_there_is_not_pulled_while_its_task_waits_for_room() -> None:
    waiting = action("a0", None, "env.main", "WAITING_FOR_RESOURCES", waiting_for="waiting for 1 CPU (0 CPUs free)")
    assert told([waiting]) == [[]]


def test_a_result_from_the_cache_is_called_so() -> None:
    hit = action("a0", None, "env.main", "SUCCEEDED", cache="hit", cached_from="r0/a1")
    assert told([hit])[0][-1] == "  succeeded  env.main  1.5 s  from the cache"


def test_there_is_nothing_to_look_into_where_no_container_ran() -> None:
    ran = action("a0", None, "env.main", "FAILED", error=NO_FOLD)
    assert "`flytebuild rerun --shell r1` opens a shell" in next_step(ran, "r1", "http://page")
    refused = action(
        "a0", None, "env.main", "FAILED", error={"code": "SecretNotFound", "message": "none"}, started=None
    )
    assert next_step(refused, "r1", "http://page") == "its container never ran; the run's page is http://page"


def test_an_import_that_fails_is_summed_up_by_what_it_says() -> None:
    message = (
        "Full traceback:\nTraceback (most recent call last):\n"
        '  File "/home/flyte/ext.py", line 2, in <module>\n    import torch\n'
        "ModuleNotFoundError: No module named 'torch'\n\n[ImportError Diagnostics]\n"
    )
    said = summary({"code": "ModuleNotFoundError", "message": message})
    assert said == "ModuleNotFoundError: No module named 'torch' …"

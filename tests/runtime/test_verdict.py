from __future__ import annotations

import pytest

from flytebuild.runtime.model import Failure
from flytebuild.runtime.verdict import Exit, judge, retry_delay
from tests.runtime import samples


def verdict(exit_: Exit, document: bytes | None = None, *, has_outputs: bool = True) -> Failure | None:
    return judge(exit_, document, has_outputs=has_outputs, needs_outputs=True, last_words="last words")


def test_success_needs_outputs() -> None:
    assert verdict(Exit(0)) is None
    missing = verdict(Exit(0), has_outputs=False)
    assert missing is not None
    assert missing.code == "OutputsMissing"
    assert missing.is_system


def test_an_error_document_counts_before_outputs_and_exit_code() -> None:
    document = samples.error_document("ValueError", "no", recoverable=True)
    for exit_ in (Exit(0), Exit(1), Exit(137, is_out_of_memory=True)):
        assert verdict(exit_, document) == Failure("ValueError", "no", is_system=False, is_recoverable=True)


@pytest.mark.parametrize(
    ("exit_", "code"),
    [
        (Exit(137, is_out_of_memory=True), "OOMKilled"),
        (Exit(137), "Killed"),
        (Exit(3), "NonZeroExit"),
        (Exit(None, problem="gone"), "ContainerLost"),
    ],
)
def test_endings_without_a_document_are_named(exit_: Exit, code: str) -> None:
    failure = verdict(exit_)
    assert failure is not None
    assert failure.code == code


def test_an_interpreter_that_aborts_while_it_ends_has_done_its_work() -> None:
    assert verdict(Exit(134)) is None
    aborted = verdict(Exit(134), has_outputs=False)
    assert aborted is not None
    assert aborted.code == "NonZeroExit"


def test_the_end_of_the_log_explains_an_exit_code() -> None:
    failure = verdict(Exit(3))
    assert failure is not None
    assert "exit code 3" in failure.message
    assert "last words" in failure.message


def test_a_log_that_is_not_complete_is_said() -> None:
    assert verdict(Exit(0, log_problem="No space left on device")) is None
    failure = verdict(Exit(3, log_problem="No space left on device"))
    assert failure is not None
    assert "No space left on device" in failure.message
    assert "last words" in failure.message


def test_a_broken_document_is_a_system_error() -> None:
    failure = verdict(Exit(0), b"\xff\xff\xff")
    assert failure is not None
    assert failure.is_system


def test_retries_wait_longer_and_longer_up_to_the_cap() -> None:
    metadata = samples.task_spec(retries=4).task_template.metadata
    assert [retry_delay(metadata, failed) for failed in (1, 4, 5)] == [0.0, 0.0, None]
    backoff = metadata.retries.backoff
    backoff.base.seconds, backoff.factor, backoff.cap.seconds = 2, 3.0, 10
    assert [retry_delay(metadata, failed) for failed in (1, 2, 3, 4, 5)] == [2.0, 6.0, 10.0, 10.0, None]

"""What errors say."""

from msgspec.structs import replace

from flytebuild.errors import BuildError, StepFailure


def test_only_images_that_were_built_are_said_to_be_kept() -> None:
    assert BuildError((), manifests={}, failed=2).hint == "mend what failed, and run the same command again"
    partly = BuildError((), manifests={"r.example/a:1": "sha256:1"}, failed=1)
    assert (partly.message, partly.hint) == (
        "Building 1 of 2 images failed",
        "the images that succeeded are kept; mend what failed, and run the same command again",
    )


def test_a_build_may_be_tried_again_where_nothing_else_failed() -> None:
    mistake = StepFailure("pip: a", "exit code: 1", 1, (), ("a",))
    passing = replace(mistake, may_pass=True)
    error = BuildError([passing], manifests={}, failed=1)
    assert (error.exit_code, error.hint) == (75, "run the same command again in a while")
    assert BuildError([passing, mistake], manifests={}, failed=2).exit_code == 1
    assert BuildError([], manifests={}, failed=0).exit_code == 1

"""What errors say."""

from flytebuild.errors import BuildError


def test_only_images_that_were_built_are_said_to_be_kept() -> None:
    assert BuildError((), manifests={}, failed=2).hint == "mend what failed, and run the same command again"
    partly = BuildError((), manifests={"r.example/a:1": "sha256:1"}, failed=1)
    assert (partly.message, partly.hint) == (
        "Building 1 of 2 images failed",
        "the images that succeeded are kept; mend what failed, and run the same command again",
    )

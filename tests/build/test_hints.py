"""What is said about the usual causes; the lines are what the programs write."""

import pytest

from flytebuild.build.hints import hint
from tests.samples import AMD64, ARM64

FOUND, LOCKED = f"sha256:{'4' * 64}", f"sha256:{'f' * 64}"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/bin/sh: 1: ./tool: Exec format error", "binfmt --install arm64"),
        ("OSError: [Errno 28] No space left on device", "docker builder prune"),
        ("  Caused by: invalid peer certificate: UnknownIssuer", "ca_bundle"),
        ("ssl.SSLCertVerificationError: certificate verify failed: self-signed certificate in chain", "ca_bundle"),
        ("W: Failed to fetch http://deb.debian.org/  Temporary failure resolving 'deb.debian.org'", "name server"),
        ("  Caused by: failed to lookup address information: Temporary failure in name resolution", "name server"),
        ("E: Unable to locate package libnone", "no such package"),
        ("  Caused by: Git executable not found. Ensure that Git is installed and available.", 'apt_packages("git")'),
        ("      error: command 'gcc' failed: No such file or directory", "build-essential"),
        ("      error: linker `cc` not found", "build-essential"),
        ("Because none was not found in the package registry and you require none, we can", "index_url"),
        ("    cause: Hash mismatch for `six==1.17.0`", "flytebuild lock --update"),
        ("  cause: Because there is no version of numpy==99.0 and you require numpy==99.0, we can", "such a version"),
        ("  cause: Because only leaf<=1.5 is available and you require leaf>=7, we can", "such a version"),
        ("hint: An index URL (http://i/simple) could not be queried due to a lack of valid", "secret_mounts"),
        ("hint: An index (http://i/simple) returned a 403 Forbidden error. Check that the index", "UV_INDEX_URL"),
        ("  × No solution found when resolving dependencies:", "exclude each other"),
    ],
)
def test_the_usual_causes_are_known(line: str, words: str) -> None:
    assert words in hint("exit code: 1", ("something before", line, ""), 1, ARM64)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("failed to push r: unexpected status from HEAD request to u: 401 Unauthorized", "docker login"),
        ("failed to push r: unexpected status from POST request to u: 403 Forbidden", "may not do this"),
        ("failed to push r: unexpected status from POST request to http://r/v2/: 404 Not Found", "no such repository"),
        ("failed to push r: unexpected status from PUT request to http://r/v2/: 503 Service", "problem of its own"),
        ("could not fetch content descriptor sha256:1 (tar+zstd) from remote: not found", "lacks a layer"),
        (f"digest mismatch {FOUND}: {LOCKED}", f"gives {FOUND[:19]}…, and the lock has {LOCKED[:19]}…"),
        ('Get "http://127.0.0.1:9/six-1-py3-none-any.whl": dial tcp 127.0.0.1:9: connect: refused', "`127.0.0.1:9`"),
        ('Get "https://i.example/a/six-1-py3-none-any.whl": context deadline exceeded', "fetches `six-1-py3-none-any"),
        ("toomanyrequests: You have reached your pull rate limit", "mirror"),
        ('Get "https://i/a.whl": tls: failed to verify certificate: x509: signed by unknown authority', "own host"),
        ("invalid response status 401", "--no-wheel-layers"),
        ("write /var/lib/x: no space left on device", "docker builder prune"),
    ],
)
def test_what_buildkit_says_counts_where_no_step_wrote_anything(message: str, words: str) -> None:
    assert words in hint(message, (), None, AMD64)


def test_the_line_that_is_nearest_to_the_end_decides() -> None:
    log = ("Temporary failure resolving 'deb.debian.org'", "E: Unable to locate package libnone")
    assert "no such package" in hint("", log, 100, AMD64)


def test_a_step_that_was_killed_most_likely_had_no_memory() -> None:
    assert "memory" in hint("exit code: 137", ("working",), 137, AMD64)


def test_nothing_is_guessed_where_no_word_is_known() -> None:
    assert hint("exit code: 1", ("Traceback", "ValueError: no"), 1, AMD64) == ""

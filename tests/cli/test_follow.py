from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import httpx
import pytest

from flytebuild.cli.follow import document_of
from flytebuild.errors import ControlPlaneError
from tests.serving import Quiet, answering


def test_a_control_plane_that_knows_the_run_no_longer() -> None:
    """It was started anew while somebody followed a run of its predecessor's."""

    class Nothing(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

    with (
        answering(Nothing) as host,
        httpx.Client(base_url=f"http://{host}", trust_env=False) as http,
        pytest.raises(ControlPlaneError, match="no longer knows run `r1`"),
    ):
        document_of(http, "r1")


def test_a_control_plane_that_is_gone() -> None:
    with (
        httpx.Client(base_url="http://127.0.0.1:1", trust_env=False) as http,
        pytest.raises(ControlPlaneError, match="does not answer") as error,
    ):
        document_of(http, "r1")
    assert "`flytebuild up` starts it again; a run that `flytebuild down` has not aborted" in str(error.value.hint)

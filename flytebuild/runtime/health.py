"""What a control plane says of itself: asked before every run, so by the standard library, which is loaded anyway."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException

from flytebuild.runtime.addresses import LOOPBACK

_SECONDS = 5.0


def health_of(port: int) -> dict[str, object] | None:
    """The document of `GET /healthz` (`flytebuild.health/1`) at a port; None when nothing of ours answers there."""
    connection = HTTPConnection(LOOPBACK, port, timeout=_SECONDS)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        document = json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
    if isinstance(document, dict) and str(document.get("schema", "")).startswith("flytebuild.health/"):
        return document
    return None

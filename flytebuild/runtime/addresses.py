"""How the control plane, its containers and the SDK name each other."""

from __future__ import annotations

LABEL = "dev.flytebuild"
"""Prefix of the labels that tell our containers from others: `.home`, then `.run`, `.action`, `.attempt`, or `.worker`,
or `.ahead`."""

HOST_NAME = "host.docker.internal"
"""What containers call the machine that the control plane runs on."""

LOOPBACK = "127.0.0.1"
"""Where the SDK and the browser on this machine reach the control plane."""


def object_store_variables(endpoint: str, key_id: str, key_secret: str) -> dict[str, str]:
    """How the SDK finds the embedded object store, in a container or on the host."""
    return {
        "FLYTE_AWS_ENDPOINT": f"{endpoint}/s3",
        "FLYTE_AWS_ACCESS_KEY_ID": key_id,
        "FLYTE_AWS_SECRET_ACCESS_KEY": key_secret,
        "AWS_REGION": "us-east-1",
        # The digest of what is written takes as long as the writing, and is not looked at here.
        "AWS_UNSIGNED_PAYLOAD": "true",
    }

from __future__ import annotations

import pytest

from flytebuild.config import Config
from flytebuild.doctor.compression import examine_compression


@pytest.mark.parametrize(
    ("component", "compression", "status"),
    [
        ({"Name": "Engine", "Version": "26.1.5+dfsg1"}, "zstd", "ok"),
        ({"Name": "Engine", "Version": "23.0.0"}, "zstd", "ok"),
        ({"Name": "Engine", "Version": "20.10.24"}, "zstd", "warning"),
        ({"Name": "Engine", "Version": "20.10.24"}, "gzip", "ok"),
        ({"Name": "Engine", "Version": "dev"}, "zstd", "unknown"),
        ({"Name": "Podman Engine", "Version": "4.9.3"}, "zstd", "unknown"),
    ],
)
def test_what_engines_unpack(component: dict[str, str], compression: str, status: str) -> None:
    check = examine_compression(Config(compression=compression), {"Components": [component]})  # type: ignore[arg-type]
    assert (check.subject, check.status) == ("compression", status)
    assert ('compression = "gzip"' in check.hint) == (status == "warning")

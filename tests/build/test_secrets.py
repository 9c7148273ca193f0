"""What build steps are given of the host's."""

from pathlib import Path

import pytest

from flytebuild.build.secrets import host_secrets
from flytebuild.config import Config
from flytebuild.errors import ConfigError
from flytebuild.llb.trust import CA_BUNDLE, CA_PATH, CA_PATH_SECRET


def test_index_settings_and_the_bundle_where_the_host_has_them(tmp_path: Path) -> None:
    assert host_secrets(Config(), {"UV_INDEX_URL": "", "PATH": "/bin"}) == {}
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(b"pem")
    found = host_secrets(Config(ca_bundle=bundle), {"UV_INDEX_URL": "https://u:p@i/simple"})
    assert found == {"UV_INDEX_URL": b"https://u:p@i/simple", CA_BUNDLE: b"pem", CA_PATH_SECRET: CA_PATH.encode()}


def test_a_bundle_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.pem"):
        host_secrets(Config(ca_bundle=tmp_path / "nothing.pem"), {})

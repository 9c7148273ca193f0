from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import pytest

from flytebuild.doctor.credentials import examine_credentials
from flytebuild.registry.reference import parse

SECRET = secrets.token_hex(16)


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's configuration file, and a credential helper on PATH that knows one registry."""
    helper = tmp_path / "docker-credential-vault"
    helper.write_text(f"""#!/bin/sh
read -r host
case $host in
  broken.example) echo 'the vault is locked' >&2; exit 1 ;;
  *) echo '{{"Username": "me", "Secret": "{SECRET}"}}' ;;
esac
""")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    return tmp_path / "config.json"


def test_which_program_or_file_has_them_is_told_and_nothing_more(docker: Path) -> None:
    helpers = {"kept.example": "vault", "broken.example": "vault"}
    docker.write_text(json.dumps({"credHelpers": helpers, "auths": {"file.example": {"identitytoken": SECRET}}}))
    by_program = examine_credentials(parse("kept.example/team/flyte"))
    assert by_program.message == "a user and a password for `kept.example`, from `docker-credential-vault`"
    by_file = examine_credentials(parse("file.example/team/flyte"))
    assert by_file.message == f"an identity token for `file.example`, from `{docker}`"
    broken = examine_credentials(parse("broken.example/team/flyte"))
    assert broken.status == "warning"
    assert "`docker-credential-vault` fails (the vault is locked)" in broken.message
    none = examine_credentials(parse("other.example/team/flyte"))
    assert (none.status, none.message) == ("ok", "none for `other.example`: requests are anonymous")
    assert SECRET not in repr((by_program, by_file, broken, none))

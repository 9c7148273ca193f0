"""Large objects pass through the control plane's process; they are not held in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tests.runtime.conftest import CREDENTIALS

SERVE = """
import sys
from pathlib import Path
from tests.runtime.conftest import ScriptedExecutor, served
with served(Path(sys.argv[1]), ScriptedExecutor()) as address:
    print(address, flush=True)
    for _ in sys.stdin:
        print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0], flush=True)
"""
ROOT = Path(__file__).parents[2]
SIZE = 256 << 20
MOST = 64 << 10
"""KiB that the process may grow by."""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells a process's memory")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A control plane's server in a process of its own, without an engine; each line that it gets is answered with the
    most memory that it has had, in KiB.
    """
    command = [sys.executable, "-c", SERVE, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def test_an_object_of_hundreds_of_megabytes(process: subprocess.Popen[str], tmp_path: Path) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    address = process.stdout.readline().strip()

    def most() -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    options = {"access_key_id": CREDENTIALS.key_id, "secret_access_key": CREDENTIALS.key_secret, "region": "us-east-1"}
    store = S3Store("flytebuild", config={**options, "endpoint": f"{address}/s3"}, client_options={"allow_http": True})
    obstore.put(store, "small", b"x")
    before = most()
    piece = bytes(8 << 20)
    obstore.put(store, "in parts", (piece for _ in range(SIZE // len(piece))), use_multipart=True, chunk_size=16 << 20)
    obstore.put(store, "at once", bytes(SIZE), use_multipart=False)
    obstore.copy(store, "at once", "copied")
    for name in ("in parts", "at once", "copied"):
        assert sum(len(found) for found in obstore.get(store, name).stream()) == SIZE
        (tmp_path / "objects/flytebuild" / name).unlink()
    assert most() - before < MOST

"""An index that images name besides PyPI, as PyTorch's own is named: its pages tell hashes and no sizes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from packaging.utils import parse_wheel_filename


def fetch(requirement: str, folder: Path) -> bool:
    """Have a requirement's own wheel in a folder, from wherever pip finds it on this machine; whether it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    if _find(requirement, folder):
        return True
    options = ("--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--quiet", "--dest", str(folder))
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, requirement], stderr=subprocess.DEVNULL, check=False
    )
    return asked.returncode == 0 and _find(requirement, folder)


@contextmanager
def serving(wheels: Path, folder: Path, address: str) -> Iterator[str]:
    """The URL of an index of these wheels, whose pages are written to `folder`, at an address of this machine."""
    for name in {path.name.partition("-")[0] for path in wheels.glob("*.whl")}:
        page = folder / "simple" / name.replace("_", "-").lower()
        page.mkdir(parents=True, exist_ok=True)
        links = []
        for path in sorted(wheels.glob(f"{name}-*.whl")):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            (page / path.name).unlink(missing_ok=True)
            (page / path.name).symlink_to(path.resolve())
            # A plus sign in a URL is a space to some.
            links.append(f'<a href="{path.name.replace("+", "%2B")}#sha256={digest}">{path.name}</a>')
        (page / "index.html").write_text("<!DOCTYPE html><html><body>\n" + "\n".join(links) + "\n</body></html>\n")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing of a client that has read enough of a wheel."""

    with Server((address, 0), partial(Handler, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{address}:{server.server_address[1]}/simple"
        finally:
            server.shutdown()
            thread.join()


def _find(requirement: str, folder: Path) -> bool:
    name, _, version = requirement.partition("==")
    known = (parse_wheel_filename(path.name) for path in folder.glob("*.whl"))
    return any((found, str(number)) == (name, version) for found, number, *_ in known)

"""Runs in an image's container: a command that installs packages, and then the compiler for what it installed.

`python bytecode.py COMMAND [ARGUMENT …]` takes the packages for those of the Python that it runs on. Bytecode is known
by the content of its source, and trusted without a look at that (PEP 552). What has bytecode already keeps it. It needs
nothing but the standard library of Python 3.8.
"""

from __future__ import annotations

import compileall
import importlib.util
import multiprocessing
import os
import py_compile
import subprocess
import sys
import sysconfig
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES_PER_PROCESS = 50
_HASHED = 1
"""The bit of a file's second word that says that the hash of its source follows."""


def main() -> int:
    code = subprocess.call(sys.argv[1:])
    if code:
        # A process that a signal ended has no code of its own; shells count from here.
        return code if code > 0 else 128 - code
    return _compile_all(list(_sources()))


def _sources() -> Iterator[str]:
    for top in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        for folder, folders, files in os.walk(top):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            yield from (os.path.join(folder, name) for name in sorted(files) if name.endswith(".py"))


def _compile_all(sources: list[str]) -> int:
    """Compile in as many processes as there are processors; the exit code."""
    count = min(len(os.sched_getaffinity(0)), 1 + len(sources) // _FILES_PER_PROCESS)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_compile, args=(sources[number::count],)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return int(any(worker.exitcode for worker in workers))


def _compile(sources: list[str]) -> None:
    """Compile what has no bytecode, or that of another content. What is no Python stays as it is, as with uv."""
    warnings.simplefilter("ignore")
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for source in sources:
        if not _is_compiled(source):
            compileall.compile_file(source, quiet=2, force=True, invalidation_mode=mode)


def _is_compiled(source: str) -> bool:
    """Whether there is bytecode of exactly this source, of whichever kind."""
    try:
        with open(importlib.util.cache_from_source(source), "rb") as file:
            magic, flags, known = file.read(4), int.from_bytes(file.read(4), "little"), file.read(8)
        if magic != importlib.util.MAGIC_NUMBER:
            return False
        if flags & _HASHED:
            with open(source, "rb") as file:
                return known == importlib.util.source_hash(file.read())
        status = os.stat(source)
    except OSError:
        return False
    stamp = (int(status.st_mtime) & 0xFFFF_FFFF, status.st_size & 0xFFFF_FFFF)
    return known == b"".join(value.to_bytes(4, "little") for value in stamp)


if __name__ == "__main__":
    sys.exit(main())

"""Let our engine run programs of the other architecture: QEMU, registered with the kernel.

The registration lives as long as `binfmt_misc` is mounted somewhere. We mount it in the engine's own mount namespace,
so that it ends with the engine, however that ends, and the host's mounts stay as they are. Where the host mounts it as
well, `remove` takes the registration away.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from scripts.machine.debian import GNU_NAMES, fetch, new_folder, other_architecture
from scripts.machine.processes import Children, run_quietly
from scripts.machine.report import MachineError, say
from scripts.machine.state import Record, State

PACKAGES = ("qemu-user-static", "qemu-user")
"""Where the program is, in older and in newer releases."""

_HEADER = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
MAGIC = {"arm64": rf"{_HEADER}\xb7\x00", "amd64": rf"{_HEADER}\x3e\x00"}
"""How programs of an architecture begin: the head of an ELF file, and the number of the machine."""

REGISTER = """
set -e
cd /proc/sys/fs/binfmt_misc
[ -e register ] || { mount -t binfmt_misc binfmt_misc . && cd /proc/sys/fs/binfmt_misc; }
[ -e "$1" ] || printf %s ":$1:M::$2:$3:$4:F" >register
"""
UNREGISTER = """
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || exit 0
cd /proc/sys/fs/binfmt_misc
[ ! -e "$1" ] || echo -1 >"$1"
"""


def bring(state: State, record: Record, children: Children) -> bool:
    """See to it that the engine runs the other architecture; whether it does."""
    assert record.engine
    try:
        program = _place_program(state, children)
    except MachineError as error:
        children.check()
        say("emulation", f"{other_architecture()} cannot run here: {error.message}")
        return False
    if failure := _register(state, record.engine.pid, f"/{program.relative_to(state.root)}"):
        say("emulation", f"{other_architecture()} cannot run here: {failure}")
        return False
    return True


def is_there(state: State, record: Record) -> bool:
    """Whether our engine, which runs, runs the other architecture too."""
    assert record.engine
    entry = f"/proc/sys/fs/binfmt_misc/{_entry(state)}"
    return run_quietly([*_inside(record.engine.pid), "test", "-e", entry]).returncode == 0


def is_on_host() -> bool:
    """Whether the host runs the other architecture: then engines of others do."""
    name = f"qemu-{GNU_NAMES[other_architecture()]}"
    return Path("/proc/sys/fs/binfmt_misc", name).exists()


def remove(state: State) -> None:
    """Take our registration away, where the end of the engine has not."""
    if not state.root.is_dir():
        return
    run_quietly(["unshare", "--mount", "sh", "-c", UNREGISTER, "sh", _entry(state)])


def _entry(state: State) -> str:
    return f"{state.name}-{other_architecture()}"


def _inside(pid: int) -> list[str]:
    return ["nsenter", f"--mount=/proc/{pid}/ns/mnt", "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


def _register(state: State, pid: int, program: str) -> str | None:
    """Register `program`, a path in the engine's root; why it did not work, or None."""
    arguments = (_entry(state), MAGIC[other_architecture()], _MASK, program)
    result = run_quietly([*_inside(pid), "sh", "-c", REGISTER, "sh", *arguments])
    return result.stderr.strip() or f"exit code {result.returncode}" if result.returncode else None


def _place_program(state: State, children: Children) -> Path:
    """QEMU in the engine's root: the one program of its package that is needed."""
    name = f"qemu-{GNU_NAMES[other_architecture()]}"
    program = state.root / f"usr/libexec/{name}"
    if program.exists():
        return program
    scratch = new_folder(state.scratch / "emulation")
    unpack = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --directory="$2" --wildcards "*/bin/$3*" || true'
    for package in PACKAGES:
        for deb in fetch([package], new_folder(scratch / package), state.logs / "emulation.log", children):
            children.run(["sh", "-c", unpack, "sh", deb, scratch, name], log=state.logs / "emulation.log")
        for found in (scratch / "usr/bin" / f"{name}-static", scratch / "usr/bin" / name):
            if found.is_file() and not found.is_symlink():
                program.parent.mkdir(exist_ok=True)
                shutil.copy(found, draft := program.with_suffix(".new"))
                draft.replace(program)
                return program
    raise MachineError(f"Debian's archive has no {name} that stands alone")

"""Stop what `up` started from a state folder, and remove the folder; nothing else."""

from __future__ import annotations

from scripts.machine import engine, registry
from scripts.machine.report import say
from scripts.machine.state import Record, State, locked, refuse_mounts_in, remove_tree


def down(state: State) -> None:
    if not state.folder.exists():
        say("machine", "nothing to stop")
        return
    with locked(state):
        record = Record.load(state)
        engine.stop(state, record)
        registry.stop(record)
        record.save(state)
        refuse_mounts_in(state.folder)
        remove_tree(state.folder)
    say("machine", f"stopped, and `{state.folder}` removed")

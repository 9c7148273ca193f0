"""What kept runs and deployed tasks refer to: uploads and inputs by their names, deployed tasks by their versions.

Addresses stand as they are in every message of the protocol, so they are looked for in the messages' bytes. What counts
is how they end: `…/uploads/DIGEST` keeps the upload of that name wherever objects lie.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.message import Message

from flytebuild.runtime.catalogue import TaskKey
from flytebuild.runtime.model import Action, Run

SHARED = ("uploads/folders", "uploads", "inputs")
"""Where lies what several runs may use, each below a name of its own."""

NAME = rf"(?:{'|'.join(SHARED)})/[A-Za-z0-9._=-]+"
"""The name of such a folder, as a regular expression; `uploads/folders` alone, which matches as well, is none."""

# Looked for at every slash: a prefix may end in a word that is one of these folders.
_ADDRESS = re.compile(rf"(?=/({NAME}))".encode())


def addresses(content: bytes) -> set[str]:
    """The shared folders that some bytes name, such as `uploads/DIGEST`."""
    return {found.decode("ascii") for found in _ADDRESS.findall(content)}


def of_records(records: Iterable[Run | Action]) -> tuple[set[str], set[TaskKey]]:
    """The shared folders and the versions of tasks that runs and their actions name."""
    folders, versions = set[str](), set[TaskKey]()
    seen = dict[int, Message]()
    for record in records:
        if isinstance(record, Action) and record.task is not None:
            versions.add(TaskKey.of(record.task.task_template.id))
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if isinstance(value, str):
                folders |= addresses(value.encode("utf-8", "surrogateescape"))
            elif isinstance(value, Message) and id(value) not in seen:
                # Thousands of actions share few messages.
                seen[id(value)] = value
                folders |= addresses(value.SerializeToString())
    return folders, versions


def of_documents(places: Iterable[Path]) -> set[str]:
    """The shared folders that the protocol's files (`*.pb`) below some folders name, or some files themselves."""
    return {name for path in _documents(places) for name in addresses(path.read_bytes())}


def _documents(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file():
            yield place
        for where, _, files in os.walk(place):
            yield from (Path(where, name) for name in files if name.endswith(".pb"))

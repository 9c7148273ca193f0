"""What the operating system says about a path, in words: one line each, whatever bytes the path has."""

from __future__ import annotations

import errno
import os

from flytebuild.errors import SourceChangedError, SourceError

# Not there any more, or there is a folder, a link, a pipe or a socket in its place.
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ESPIPE, errno.ENXIO)


def shown(path: bytes | str) -> str:
    """A path on one line, with escapes for what cannot be printed."""
    text = os.fsdecode(path)
    return text if text.isprintable() else "".join(map(_shown, text))


def unreadable(path: bytes, error: OSError) -> SourceError:
    """Why something that a listing named cannot be read; what has gone since is a change."""
    if error.errno in _GONE:
        return SourceChangedError(shown(path))
    reason = error.strerror or str(error)
    return SourceError(
        f"`{shown(path)}` cannot be read: {reason}",
        hint="make it readable, or leave it out with a line in the ignore file",
    )


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    # What stands for a byte that is no text is shown as that byte.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()

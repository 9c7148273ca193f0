"""Starting programs of ours in containers of an image, with the Python that its tasks have."""

from __future__ import annotations

from flytebuild.inside import text_of

_BOOT = """\
program=$(command -v a0) || { echo 'the image has no program `a0`' >&2; exit 1; }
text=$1
shift
read -r line < "$program"
case $line in
  '#!'*python*) exec ${line#??} -c "$text" "$program" "$@" ;;
  *) exec python3 -c "$text" "$program" "$@" ;;
esac
"""


def command_of(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that executes a program of `flytebuild.inside` with the Python that the image's `a0` is written for.

    Its arguments are where that `a0` is, then these.
    """
    return ("/bin/sh", "-c", _BOOT, "sh", text_of(name), *arguments)

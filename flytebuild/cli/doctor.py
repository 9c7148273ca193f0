"""`flytebuild doctor`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.text import Text

    from flytebuild.doctor.check import Check

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "unknown": "dim"}


@click.command(short_help="Check the builder, the engine, the registry and this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (`flytebuild.doctor/1`).")
def doctor(as_json: bool) -> int:
    """Check what builds and runs need, and say how to mend what is missing.

    Shows which BuildKit builds, and why that one; then its capabilities, the engine, the registry and what it allows,
    credentials, clocks, disk, CA bundle and versions. Changes nothing, and leaves nothing behind. Exits with 0 when
    nothing failed, else with the code that a build would end with.

    \b
    Examples:
      flytebuild doctor
      flytebuild doctor --json | jq -r '.checks[] | select(.status == "failed") | .hint'
    """
    from flytebuild import config
    from flytebuild.cli.console import out
    from flytebuild.doctor.check import exit_code
    from flytebuild.doctor.examination import examine

    checks = asyncio.run(examine(config.load(Path.cwd())))
    if as_json:
        document = {
            "schema": "flytebuild.doctor/1",
            "checks": [
                {"subject": item.subject, "status": item.status, "message": item.message, "hint": item.hint or None}
                for item in checks
            ],
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        out().print(_render(checks))
    return exit_code(checks)


def _render(checks: tuple[Check, ...]) -> Text:
    from rich.text import Text

    width = max(len(item.subject) for item in checks)
    lines = []
    for item in checks:
        status = (f"{item.status:<7}", _STYLES[item.status])
        lines.append(Text.assemble(status, f"  {item.subject:<{width}}  {item.message}"))
        if item.hint:
            lines.append(Text.assemble(" " * (width + 11), ("hint", "bold cyan"), f": {item.hint}"))
    return Text("\n").join(lines)

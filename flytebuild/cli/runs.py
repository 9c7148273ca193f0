"""`flytebuild runs`."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import click

_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class _Age(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A length of time, in seconds."""

    name = "AGE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+)([mhdw])", str(value))
        if not found:
            self.fail(f"`{value}` is no age: it is a number with `m`, `h`, `d` or `w`, such as `7d`", param, ctx)
        return int(found[1]) * _SECONDS[found[2]]


@click.group(
    short_help="Look after the runs of this machine.",
    invoke_without_command=True,
    subcommand_metavar="[COMMAND] [ARGS]...",
)
@click.pass_context
def runs(context: click.Context) -> None:
    """Look after the runs of this machine.

    \b
    Examples:
      flytebuild runs prune --older-than 7d
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@runs.command(short_help="Remove runs that have ended, with their logs and outputs.")
@click.option("--older-than", type=_Age(), help="Only runs that ended longer ago than this, such as `7d` or `12h`.")
@click.option("--keep", type=click.IntRange(0), help="Keep the newest N runs that have ended; 0 keeps none.")
@click.option("--versions", type=click.IntRange(1), help="Keep the newest N versions of each deployed task.")
@click.option("--cache", "with_cache", is_flag=True, help="Also remove cached results of these runs.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (`flytebuild.prune/1`).")
def prune(
    older_than: int | None, keep: int | None, versions: int | None, with_cache: bool, dry_run: bool, as_json: bool
) -> None:
    """Remove runs that have ended: what is remembered of them, their logs, their outputs.

    Inputs, code bundles and other uploads that nothing refers to any more go as well, two days after they came. Outputs
    that cached results point to stay without `--cache`. Versions of deployed tasks stay without `--versions`, and those
    that a run has used as long as that run. Runs in progress stay. A control plane may be running.

    \b
    Examples:
      flytebuild runs prune --older-than 7d --dry-run
      flytebuild runs prune --keep 20 --cache --versions 3
    """
    from flytebuild import config
    from flytebuild.cli.console import out
    from flytebuild.errors import UsageError
    from flytebuild.runtime import prune as library

    with_runs = older_than is not None or keep is not None
    if not with_runs and versions is None:
        raise UsageError(
            "It is not said which runs are to go", hint="give `--older-than 7d`, `--keep 20`, or `--versions 3`"
        )
    before = time.time() - older_than if older_than is not None else None
    home = config.load(Path.cwd()).home
    rules = library.Rules(before, keep, versions, with_runs, with_cache)
    done = library.prune(home, rules, is_rehearsal=dry_run)
    if as_json:
        document = {
            "schema": "flytebuild.prune/1",
            "dry_run": dry_run,
            "runs": list(done.runs),
            "bytes": done.size,
            "kept_for_cache": list(done.kept_for_cache),
            "tasks": list(done.tasks),
            "uploads": done.uploads,
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    counts = [_count(len(done.runs), "run")]
    counts += [_count(len(done.tasks), "version") + " of deployed tasks"] if done.tasks else []
    counts += [_count(done.uploads, "input or upload", "inputs and uploads")] if done.uploads else []
    out().print(f"{'Would remove' if dry_run else 'Removed'} {', '.join(counts)}, {done.size / 1e6:,.1f} MB")
    if done.kept_for_cache:
        out().print(f"The outputs of {len(done.kept_for_cache)} of them stay for the cache; `--cache` removes them")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"

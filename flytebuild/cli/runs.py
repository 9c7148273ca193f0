"""`flytebuild runs`."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flytebuild.cli.runs_list import list_runs

if TYPE_CHECKING:
    from flytebuild.runtime.remote_prune import Emptied

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
      flytebuild runs list
      flytebuild runs prune --older-than 7d
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


runs.add_command(list_runs)


@runs.command(short_help="Remove runs that have ended, with their logs and outputs.")
@click.option("--older-than", type=_Age(), help="Only runs that ended longer ago than this, such as `7d` or `12h`.")
@click.option("--keep", type=click.IntRange(0), help="Keep the newest N runs that have ended; 0 keeps none.")
@click.option("--versions", type=click.IntRange(1), help="Keep the newest N versions of each deployed task.")
@click.option("--cache", "with_cache", is_flag=True, help="Also remove cached results of these runs.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (`flytebuild.prune/1`).")
def prune(
    older_than: int | None, keep: int | None, versions: int | None, with_cache: bool, dry_run: bool, as_json: bool
) -> int:
    """Remove runs that have ended: what is remembered of them, their logs, their outputs.

    Inputs, code bundles and other uploads that nothing refers to any more go as well, two days after they came. Outputs
    that cached results point to stay without `--cache`. Versions of deployed tasks stay without `--versions`, and those
    that a run has used as long as that run. Runs in progress stay. A control plane may be running. A store of your own
    (`storage`) is tidied by the same rules, below its prefix.

    \b
    Examples:
      flytebuild runs prune --older-than 7d --dry-run
      flytebuild runs prune --keep 20 --cache --versions 3
    """
    from flytebuild import config
    from flytebuild.cli.console import err, note, out
    from flytebuild.errors import UsageError
    from flytebuild.runtime import prune as library
    from flytebuild.runtime.remote_store import open_store

    with_runs = older_than is not None or keep is not None
    if not with_runs and versions is None:
        raise UsageError(
            "It is not said which runs are to go", hint="give `--older-than 7d`, `--keep 20`, or `--versions 3`"
        )
    before = time.time() - older_than if older_than is not None else None
    settings = config.load(Path.cwd())
    rules = library.Rules(before, keep, versions, with_runs, with_cache)
    done = library.prune(settings.home, rules, open_store(settings), is_rehearsal=dry_run)
    store = done.store
    for key, why in store.refused.items() if store else ():
        err().print(note(f"`{key}` was not removed: {why}"))
    code = 1 if store and store.refused else 0
    if as_json:
        document = {
            "schema": "flytebuild.prune/1",
            "dry_run": dry_run,
            "runs": list(done.runs),
            "bytes": done.size,
            "kept_for_cache": list(done.kept_for_cache),
            "tasks": list(done.tasks),
            "uploads": done.uploads,
            "store": _document(store) if store else None,
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return code
    counts = [_count(len(done.runs), "run")]
    counts += [_count(len(done.tasks), "version") + " of deployed tasks"] if done.tasks else []
    counts += [_count(done.uploads, "input or upload", "inputs and uploads")] if done.uploads else []
    verb = "Would remove" if dry_run else "Removed"
    out().print(f"{verb} {', '.join(counts)}, {done.size / 1e6:,.1f} MB")
    if store:
        out().print(f"{verb} {_count(store.objects, 'object')} from `{store.base}`, {store.size / 1e6:,.1f} MB")
    if store and store.strangers:
        unknown = _count(store.strangers, "run")
        out().print(f"It has {unknown} that this data folder does not know; inputs and uploads stay there")
    if done.kept_for_cache:
        out().print(f"The outputs of {len(done.kept_for_cache)} of them stay for the cache; `--cache` removes them")
    return code


def _document(store: Emptied) -> dict[str, object]:
    return {
        "base": store.base,
        "objects": store.objects,
        "bytes": store.size,
        "unknown_runs": store.strangers,
        "refused": [{"key": key, "reason": why} for key, why in store.refused.items()],
    }


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"

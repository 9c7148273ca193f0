"""`flytebuild up`."""

from __future__ import annotations

from pathlib import Path

import click

from flytebuild.cli.status import SCHEMA

CONFIG_FILE = Path(".flyte", "config.yaml")


@click.command(short_help="Start the local control plane.")
@click.option("--no-config", is_flag=True, help=f"Do not write `{CONFIG_FILE}` into the current folder.")
@click.option("--json", "as_json", is_flag=True, help=f"Print where it is as one JSON document (`{SCHEMA}`).")
def up(no_config: bool, as_json: bool) -> None:
    """Start the local control plane, and let Flyte's SDK find it from the current folder.

    `flyte run` and programs that call `flyte.init_from_config` read `.flyte/config.yaml` of the folder they are
    started in, so they run here afterwards, unchanged. `flytebuild run` needs no such file.

    \b
    Examples:
      flytebuild up
      flyte run main.py main --x 1
      python main.py
    """
    from flytebuild import config
    from flytebuild.cli.console import err
    from flytebuild.cli.status import document
    from flytebuild.runtime import client, flyte_config

    settings = config.load(Path.cwd())
    if not no_config:
        # Before anything is started for a file that cannot be.
        flyte_config.check(CONFIG_FILE)
    console = err()
    before = client.find(settings)
    plane = client.ensure(settings, console.print)
    console.print(f"The control plane {'runs already' if plane == before else 'is up'}: {plane.endpoint}")
    if no_config:
        console.print(f"Point Flyte's SDK at it with `FLYTECTL_CONFIG={plane.config_file}`")
    else:
        flyte_config.write(plane.endpoint, CONFIG_FILE)
        console.print(f"`{CONFIG_FILE}` points Flyte's SDK at it: `flyte run` and `python main.py` here run on it")
        if Path("config.yaml").exists():
            console.print("note: Flyte's SDK reads the `config.yaml` in this folder instead, as long as it is there")
    console.print("`flytebuild down` stops it")
    if as_json:
        click.echo(document(settings, plane))

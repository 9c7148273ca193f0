"""The command line: `python -m scripts.machine up|status|down --state DIR`."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

from scripts.machine import catalogue, engine, registry
from scripts.machine.down import down
from scripts.machine.report import MachineError
from scripts.machine.state import Record, State
from scripts.machine.up import Machine, up


def main() -> int:
    arguments = _parser().parse_args()
    state = State(arguments.state.resolve())
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if arguments.verb == "up":
            machine = up(
                state,
                reuse=not (arguments.no_reuse or arguments.beside),
                wanted=arguments.bases,
                flyte_version=arguments.flyte_version,
                beside=State(arguments.beside.resolve()) if arguments.beside else None,
                apart=arguments.apart,
            )
            print(_as_shell(machine) if arguments.env else _as_json(machine))
        elif arguments.verb == "down":
            down(state)
        else:
            return _status(state)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except MachineError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="machine", description="An engine, a registry and base images for a bare machine"
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, text in (
        ("up", "bring up what is missing and print how to reach it"),
        ("status", "print what runs; exit code 3 when something does not"),
        ("down", "stop what `up` started and remove the state folder"),
    ):
        verb = verbs.add_parser(name, help=text, description=text)
        verb.add_argument("--state", type=Path, required=True, metavar="DIR", help="the folder that holds everything")
        if name == "up":
            verb.add_argument("--no-reuse", action="store_true", help="an engine of its own, even if another answers")
            verb.add_argument(
                "--beside",
                type=Path,
                metavar="DIR",
                help="a second engine for the registry of the machine in DIR, made like the engine there",
            )
            verb.add_argument(
                "--apart", action="store_true", help="with `--beside`: on a network of its own, as on another host"
            )
            verb.add_argument(
                "--bases",
                default=catalogue.NEEDED,
                metavar="LIST",
                help="`needed` (the default): what Flyte's images start from; `all`: every one, and a second "
                "architecture; or names with commas between them, such as `flyte3.13,python3.11`",
            )
            verb.add_argument("--flyte-version", metavar="X.Y.Z", help="of the base image; default: the installed one")
            form = verb.add_mutually_exclusive_group()
            form.add_argument("--json", action="store_true", help="print one document (the default)")
            form.add_argument("--env", action="store_true", help="print lines for a shell's `eval`")
    return parser


def _as_json(machine: Machine) -> str:
    document = {
        "docker_host": machine.engine.host,
        "registry": machine.registry,
        "mirrors": machine.mirrors,
        "platforms": list(machine.platforms),
        "started": list(machine.started),
    }
    return json.dumps(document, indent=2)


def _as_shell(machine: Machine) -> str:
    variables = {"DOCKER_HOST": machine.engine.host}
    if machine.engine.certificates:
        variables |= {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(machine.engine.certificates)}
    if machine.registry:
        variables["FLYTEBUILD_REGISTRY"] = machine.registry
    if machine.mirrors:
        variables["FLYTEBUILD_MIRRORS"] = ",".join(f"{name}={target}" for name, target in machine.mirrors.items())
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def _status(state: State) -> int:
    record = Record.load(state)
    answers = {"engine": engine.is_running(state, record), "registry": registry.is_running(record)}
    print(f"engine: {state.engine_host if answers['engine'] else 'does not run'}")
    print(f"registry: {f'127.0.0.1:{record.registry_port}' if answers['registry'] else 'does not run'}")
    return 0 if all(answers.values()) else 3


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

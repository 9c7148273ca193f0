"""A task's inputs from the command line: Flyte's own options and conversions, with our words where they fail."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import flyte.errors
import httpx
import rich_click as click
from click.exceptions import Exit
from connectrpc.errors import ConnectError
from flyte.cli._params import UnionParamType
from flyte.cli._run import RunArguments, RunTaskCommand

from flytebuild.errors import DefinitionError, FlytebuildError, RunError

_LONGEST = 300
"""Of a converter's explanation, in characters."""

_PASSED_ON = (FlytebuildError, Exit, click.Abort)


class TaskInputs(RunTaskCommand):
    """Flyte's own command for a task, which knows the options of its inputs, with another thing to do.

    Reading an input may upload it (files, folders, tables); `connect` initialises the SDK then, and only then.
    """

    def __init__(self, task: Any, connect: Callable[[], object], act: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(
            obj_name=task.short_name,
            obj=task,
            run_args=RunArguments(project="-", domain="-"),
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        self._connect = connect
        self._act = act

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The options of the inputs, each with a conversion that fails in our words, and `--help`.

        Raises DefinitionError for an input that can be no option, such as one with a capital in its name.
        """
        try:
            params: list[click.Parameter] = super().get_params(ctx)
        except Exception as error:
            # By its type or its default, which the SDK converts here: they are the user's.
            raise DefinitionError(
                f"The inputs of `{self.obj.name}` cannot be given on a command line: {_line(error)}"
            ) from error
        for param in self.params:
            self._watch(param)
        return params

    def invoke(self, ctx: click.Context) -> None:
        try:
            self._validate_required_params(ctx)
        except click.UsageError as error:
            error.ctx = ctx
            raise
        self._act(ctx.params)

    def _watch(self, param: click.Parameter) -> None:
        handle = param.handle_parse_result

        def handle_in_our_words(ctx: click.Context, opts: Mapping[str, Any], args: list[str]) -> Any:
            value = opts.get(param.name)
            # Converters print; what is printed here is no result.
            with contextlib.redirect_stdout(sys.stderr):
                try:
                    if value is not None and _may_hide_an_upload(param):
                        self._connect()
                    try:
                        return handle(ctx, opts, args)
                    except flyte.errors.InitializationError:
                        self._connect()
                        return handle(ctx, opts, args)
                except click.UsageError as error:
                    raise _clearer(error, param, value) from error
                except (flyte.errors.BaseRuntimeError, ConnectError, httpx.HTTPError) as error:
                    raise RunError(f"The input `--{param.name}` could not be uploaded: {_line(error)}") from error
                except _PASSED_ON:
                    raise
                except Exception as error:
                    # Whatever a converter of the SDK's, or of the user's own type, raises: the value is wrong for it.
                    raise click.BadParameter(_line(error), ctx=ctx, param=param) from error

        param.handle_parse_result = handle_in_our_words  # type: ignore[method-assign]


def _may_hide_an_upload(param: click.Parameter) -> bool:
    """Whether the type tries several conversions and keeps to itself why each of them failed."""
    kind = param.type
    if not isinstance(kind, UnionParamType):
        return False
    return any(item is not None and not type(item).__module__.startswith("click.") for item in kind._types)


def _clearer(error: click.UsageError, param: click.Parameter, value: object) -> click.UsageError:
    """The same in our words where the SDK's name its own objects."""
    if not isinstance(error, click.BadParameter):
        return error
    message = error.message.replace(f"parameter {param} ", "it ")
    if isinstance(param.type, UnionParamType):
        message = f"`{value}` is none of {param.type.name}"
    return click.BadParameter(message, ctx=error.ctx, param=error.param)


def _line(error: BaseException) -> str:
    """What an exception says, on one line; converters like to say it on many."""
    text = " ".join(line.strip() for line in str(error).splitlines()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

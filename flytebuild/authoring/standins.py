"""Stand-ins for packages that this machine lacks and that only tasks use.

Environments exist so that packages which do not get along live in different images; no machine has all of them. While
the user's code is loaded to be planned, or run elsewhere, a module that cannot be found, and is imported by the user's
own code, is stood in for, unless that code has an answer to its absence (`except ImportError`). Whatever is taken from
it is a class that can be named, called, subclassed, written in annotations and used as a decorator. What it would be
worth is unknown, so asking for that (a text, a number, a truth value, its items) raises `StandInError`: what an image
is made of must not depend on it.
"""

from __future__ import annotations

import ast
import importlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, FunctionType, ModuleType
from typing import Any, NoReturn, get_args, get_type_hints

import flyte
from flyte._task import AsyncFunctionTaskTemplate
from flyte._task_plugins import TaskPluginRegistry

from flytebuild.authoring.site import origin_of, relative
from flytebuild.check.imports import is_answered
from flytebuild.errors import DefinitionError

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_NOT_DEFINING = ("_tasks", "depends_on", "app", "uvicorn_config")
"""What of an environment only its containers use: tasks hold functions, and what an app serves is of the same kind."""

_SDK = str(Path(flyte.__file__).parent)
_ON_BEHALF = tuple(os.path.join(_SDK, *folder, "") for folder in (("app", "extras"), ("connectors",)))
"""Modules of the SDK that need what it does not: they import it for the user's code, which asked for them."""

_OURS = str(Path(__file__).parent.parent)
_IMPORTING = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>", importlib.__file__)
_PROTOCOLS = frozenset(
    f"__{name}__"
    for name in (
        *("path", "file", "all", "annotations", "wrapped", "set_name", "get", "set", "delete", "slots", "call"),
        *("origin", "args", "parameters", "metadata", "supertype", "type_params", "orig_bases", "orig_class"),
        *("class_getitem", "mro_entries", "typing_subst", "typing_is_unpacked_typevartuple", "text_signature"),
        *("signature", "await", "next", "abstractmethods", "isabstractmethod", "required_keys", "optional_keys"),
        *(
            "total",
            "dataclass_fields",
            "attrs_attrs",
            "pydantic_validator",
            "get_pydantic_core_schema",
            "get_validators",
        ),
    )
)
"""Names that ask what kind of thing something is; a stand-in is a plain class."""


class StandInError(Exception):
    """Raised where the value of a stand-in is asked for; `name` is what was taken, `module` what is missing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.module = distribution_of(name)
        super().__init__(f"the value of `{name}` is unknown: `{self.module}` is not installed here")


class _StandIn(type):
    """The class of all stand-ins: each is a class, since that can be used in most ways."""

    _stands_for: str

    def __getattr__(cls, name: str) -> Any:
        if name in _PROTOCOLS:
            raise AttributeError(name)
        return _stand_in(f"{cls._stands_for}.{name}")

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        # A decorator leaves a function what it is: the function is what the user wrote.
        if len(args) == 1 and not keywords and isinstance(args[0], FunctionType):
            return args[0]
        return _stand_in(f"{cls._stands_for}()")

    def __getitem__(cls, item: Any) -> Any:
        return _stand_in(f"{cls._stands_for}[…]")

    def __enter__(cls) -> Any:
        return _stand_in(cls._stands_for)

    def __exit__(cls, *error: object) -> None:
        return None

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _StandIn) and instance._stands_for == f"{cls._stands_for}()"

    def __repr__(cls) -> str:
        return f"<stand-in for {cls._stands_for}>"

    def _ask(cls, *_: Any) -> NoReturn:
        raise StandInError(cls._stands_for)

    __str__ = __format__ = __bytes__ = __fspath__ = __bool__ = __int__ = __float__ = __index__ = __len__ = _ask
    __iter__ = __contains__ = __lt__ = __le__ = __gt__ = __ge__ = __complex__ = __round__ = __reversed__ = _ask

    def _combine(cls, *_: Any) -> Any:
        return _stand_in(f"{cls._stands_for}…")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _combine
    __floordiv__ = __mod__ = __pow__ = __matmul__ = __neg__ = __pos__ = __invert__ = __abs__ = _combine


def _stand_in(name: str) -> _StandIn:
    return _StandIn(name.rpartition(".")[2], (), {"_stands_for": name, "__module__": name.rpartition(".")[0] or name})


class _Module(ModuleType):
    """A module of which nothing is known but its name."""

    def __getattr__(self, name: str) -> Any:
        if name in _PROTOCOLS:
            raise AttributeError(name)
        return _stand_in(f"{self.__name__}.{name}")


class _Loader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run."""


class _Finder(MetaPathFinder):
    """Asked last: finds what no other finder did, for the user's own modules."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parent = sys.modules.get(name.rpartition(".")[0])
        if parent is not None and not isinstance(parent, _Module) and not _may_have_more(parent):
            return None
        asking = next(_callers(), None)
        if asking is None or not _is_for_user(asking) or _is_answered():
            return None
        self.made.setdefault(name.partition(".")[0], _users_file() or asking.f_code.co_filename)
        return ModuleSpec(name, _Loader(), is_package=True)


@contextmanager
def standing_in() -> Iterator[Mapping[str, str]]:
    """While this lasts, missing modules are stood in for: which, and the file that asked for each first.

    Afterwards nobody finds them; what was taken from them stays where it was put.
    """
    finder = _Finder()
    # A plugin's configuration that is stood in for is refused with its environment, and not by the SDK.
    TaskPluginRegistry.register(_StandIn, AsyncFunctionTaskTemplate)
    sys.meta_path.append(finder)
    try:
        yield finder.made
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _Module)]:
            del sys.modules[name]


def refuse_stand_ins(environment: flyte.Environment) -> None:
    """Raise DefinitionError where a stand-in has become part of an environment or its image; tasks may hold them."""
    values = {name: value for name, value in vars(environment).items() if name not in _NOT_DEFINING}
    found = _within(values)
    if found:
        layers = getattr(environment.image, "_layers", ())
        place = next(filter(None, (origin_of(layer) for layer in layers if _within(layer))), "")
        raise _undefined(environment, found, place or origin_of(environment))


def refusal_of_stand_in(error: BaseException) -> DefinitionError | None:
    """Our words for an error that an environment raised while it was made, of a stand-in that it was given."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        environment = frame.f_locals.get("self")
        if isinstance(environment, flyte.Environment):
            values = {name: value for name, value in vars(environment).items() if name != "_tasks"}
            if found := _within(values):
                return _undefined(environment, found, origin_of(environment) or _user_place(error))
    return None


def _user_place(error: BaseException) -> str:
    """The user's line that an error came up through last."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    users = [(file, line) for file, line in frames if not _is_library(file) and not file.startswith((_OURS, "<"))]
    return relative(f"{users[-1][0]}:{users[-1][1]}") if users else ""


def _undefined(environment: flyte.Environment, found: str, place: str) -> DefinitionError:
    where = f" ({place})" if place else ""
    package = distribution_of(found)
    named = f"Environment `{environment.name}`" if isinstance(environment.name, str) else "An environment"
    return DefinitionError(
        f"{named}{where} is defined with `{found}`, and `{package}` is not installed here",
        hint=f"install `{package}` on this machine, or write the value itself",
    )


def distribution_of(name: str) -> str:
    """What is to be installed for what was taken from a module; Flyte's plugins are distributions of one namespace."""
    first, _, rest = name.partition(".")
    return f"{first}-{rest.partition('.')[0]}" if first == "flyteplugins" and rest else first


def refuse_stand_in_values(task: Any) -> None:
    """Raise DefinitionError where what a task takes or returns is of a stand-in's type, or is one by default."""
    interface = task.native_interface
    for kind, values in (("input", interface.inputs), ("output", interface.outputs)):
        for name, value in values.items():
            if found := _within(value):
                module = distribution_of(found)
                raise DefinitionError(
                    f"The {kind} `{name}` of `{task.name}` is made of `{found}`, and `{module}` is not installed here",
                    hint=f"install `{module}` on this machine, or let a task take it that this one calls",
                )


def _within(value: object) -> str | None:
    """The name of a stand-in among values, if there is one."""
    seen: set[int] = set()
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, _StandIn):
            return item._stands_for
        if id(item) not in seen:
            seen.add(id(item))
            pending.extend(_parts(item))
    return None


def _parts(value: object) -> Iterable[object]:
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in fields(value)]
    if isinstance(value, type) and (is_dataclass(value) or hasattr(value, "model_fields")):
        return _hints(value)
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else get_args(value)


def _hints(kind: type) -> Iterable[object]:
    """The types of the fields of a dataclass, or of one of pydantic's models."""
    try:
        return get_type_hints(kind).values()
    except (NameError, AttributeError, TypeError, SyntaxError):
        # Names that only a type checker sees; such an annotation is a text, and no stand-in.
        return list(vars(kind).get("__annotations__", {}).values())


def _callers() -> Iterator[FrameType]:
    """The code whose import this is, and what called or imported that, up to ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__ and not file.startswith(_IMPORTING):
            if file.startswith(_OURS):
                return
            yield frame
        frame = frame.f_back


def _is_for_user(asking: FrameType) -> bool:
    """Whether the user's code asks, or the SDK for it, where it does not go on without the module either."""
    file = asking.f_code.co_filename
    if not file.startswith(_ON_BEHALF):
        return not _is_library(file)
    tree = _parsed(file)
    return tree is not None and not is_answered(tree, asking.f_lineno)


def _users_file() -> str:
    """The nearest file of the user's; code that a decorator writes, as that of dataclasses, is in none."""
    files = (frame.f_code.co_filename for frame in _callers())
    return next((file for file in files if not _is_library(file) and not file.startswith("<")), "")


def _is_answered() -> bool:
    """Whether the user's code goes on without the module: then it does so here as everywhere."""
    return any(
        (tree := _parsed(frame.f_code.co_filename)) is not None and is_answered(tree, frame.f_lineno)
        for frame in _callers()
        if not _is_library(frame.f_code.co_filename)
    )


@cache
def _parsed(file: str) -> ast.Module | None:
    try:
        return ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _place(module: ModuleType) -> str:
    """Where a module lies: its file, or for a namespace the first folder of it."""
    return getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")


def _may_have_more(parent: ModuleType) -> bool:
    """Whether other distributions add to a module: a namespace of libraries, such as `google`.

    What a package lacks that is installed here is another version's.
    """
    return getattr(parent, "__file__", None) is None and _is_library(_place(parent))


def _is_library(place: str) -> bool:
    return place.startswith((*_LIBRARIES, "<frozen")) or "site-packages" in place or "dist-packages" in place

"""Importing files from several folders: none is loaded twice, and no folder sees another one's modules.

Two folders may both have a `main.py`, or helpers of the same name, and one file may be known by two names: to the
folder that was scanned, and to the script beside it. Loaded under both, it would define its environments twice.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

_loaded: dict[Path, ModuleType] = {}
"""Modules of the user's that were loaded in this process, by file; some of them are hidden from `sys.modules`."""


@contextmanager
def importer() -> Iterator[Importer]:
    """What imports files while the block runs. Afterwards modules are found as usual, the last root's first."""
    made = Importer()
    # Built-in and frozen modules come before anything that the user has, as always.
    place = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
    sys.meta_path.insert(place, made)
    try:
        yield made
    finally:
        sys.meta_path.remove(made)
        made.reveal()


class Importer:
    """Imports files by name, and is the finder that gives a file that is loaded its module, whatever the name."""

    def __init__(self) -> None:
        self._roots: tuple[str, ...] = ()
        self._hidden: list[tuple[str, ModuleType]] = []

    def load(self, file: Path, name: str, roots: Sequence[Path]) -> ModuleType:
        """The module of a file, imported with `roots` before everything else on the path.

        Raises whatever the module raises; what it returns is another file's module where the name is taken already.
        """
        if module := self._known(file):
            return module
        self._enter(tuple(str(root) for root in roots))
        return importlib.import_module(name)

    def reveal(self) -> None:
        """Let hidden modules be found again where no other one has taken their name."""
        for name, module in self._hidden:
            sys.modules.setdefault(name, module)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module below the roots; everything else is left to Python's own finders."""
        places = [item for item in (self._roots if path is None else path) if self._is_below_roots(item)]
        spec = PathFinder.find_spec(name, places, target) if places else None
        if spec is None or not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
            return None
        file = Path(spec.origin).resolve()
        if module := self._known(file):
            spec.loader = _Known(module)
        else:
            spec.loader = _Noted(name, spec.loader.path)
        return spec

    def _known(self, file: Path) -> ModuleType | None:
        """The module of a file that is loaded, or being loaded; none of one that has failed."""
        module = _loaded.get(file)
        if module is None:
            return None
        is_found = sys.modules.get(module.__name__) is module
        return module if is_found or any(hidden is module for _, hidden in self._hidden) else None

    def _enter(self, roots: tuple[str, ...]) -> None:
        """Put the roots first on the path, and hide what was loaded from others."""
        if roots == self._roots:
            return
        if self._roots:
            ours = {id(module) for module in _loaded.values()}
            # All are found before the first one goes: a folder's module asks for its parent by name.
            ending = [item for item in sys.modules.items() if id(item[1]) in ours or self._is_namespace(item[1])]
            for name, _ in ending:
                del sys.modules[name]
            self._hidden.extend(ending)
        for root in self._roots:
            sys.path.remove(root)
        sys.path[:0] = roots
        self._roots = roots
        importlib.invalidate_caches()

    def _is_namespace(self, module: ModuleType) -> bool:
        """Whether a module is nothing but a folder below the roots."""
        folders = list(getattr(module, "__path__", ()))
        is_file = getattr(module, "__file__", None) is not None
        return bool(folders) and not is_file and all(self._is_below_roots(folder) for folder in folders)

    def _is_below_roots(self, folder: str) -> bool:
        path = Path(folder)
        return any(
            path.is_relative_to(root) and "site-packages" not in path.relative_to(root).parts for root in self._roots
        )


class _Noted(SourceFileLoader):
    """Python's own loader; the module is noted before it runs, so that it is no part of the user's traceback."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)
        _loaded[Path(self.path).resolve()] = module
        return module


class _Known(Loader):
    """Gives a module that is there, and leaves it as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec

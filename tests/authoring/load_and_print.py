"""Loads the given paths and prints, as JSON, what the given targets need; run as a script by the loader's tests."""

import json
import sys
from pathlib import Path

from flytebuild.authoring.loader import load
from flytebuild.errors import FlytebuildError, LoadError

try:
    definitions = load([Path(item) for item in sys.argv[2:]])
    nodes = definitions.needed(json.loads(sys.argv[1]))
    print(json.dumps([[node.name, node.tasks, node.depends_on] for node in nodes]))
except FlytebuildError as error:
    trace = error.traceback if isinstance(error, LoadError) else ""
    print(json.dumps({"type": type(error).__name__, "message": error.message, "hint": error.hint, "trace": trace}))

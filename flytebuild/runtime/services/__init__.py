"""One file per service of Flyte's protocol: thin adapters that translate, and decide nothing.

The methods' names are those of the generated protocols; a method that is not written here answers UNIMPLEMENTED.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from connectrpc.request import RequestContext

Context: TypeAlias = RequestContext[Any, Any]

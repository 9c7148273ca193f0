"""The script that starts the control plane. It is alone in its folder, and belongs to no package.

Python puts a script's folder first on its path, but the current folder in the case of `-m`: there, a `typing.py` of
the user's would be imported in the place of Python's own.
"""

import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_INSTALLED = os.path.dirname(os.path.dirname(os.path.dirname(_FOLDER)))

sys.path[:] = [item for item in sys.path if os.path.abspath(item) != _FOLDER]
if _INSTALLED not in sys.path:
    # Last, for a checkout that is not installed: nothing there comes before what Python brings.
    sys.path.append(_INSTALLED)

# Whoever reads from the command that started us waits until nobody can write any more.
os.closerange(3, os.sysconf("SC_OPEN_MAX"))

from flytebuild.runtime.__main__ import main  # noqa: E402

sys.exit(main())

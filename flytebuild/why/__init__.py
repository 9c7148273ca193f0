"""Why an image is another one than before: two compositions compared, down to the field. Pure.

A layer is the same where its kind, its fields, what its process sees and its translation are; that something below it
has changed is no change of its own. Layers are aligned like the lines of a text, and those of one kind in one place
are taken for the same layer with other fields.
"""

from __future__ import annotations

from flytebuild.why.change import Change, Earlier, Files, by_layer, headline
from flytebuild.why.comparison import changes
from flytebuild.why.layer import layer_name

__all__ = ["Change", "Earlier", "Files", "by_layer", "changes", "headline", "layer_name"]

"""Prints the digests of images over every kind of layer on the files of a folder; run as a script.

`print_meaning.py FOLDER`: the folder is that of `project` in test_independence.py.
"""

import sys
from pathlib import Path

from tests.authoring.every_layer import every_image
from tests.authoring.meaning import meaning

for image in every_image(Path(sys.argv[1])):
    print(meaning(image))

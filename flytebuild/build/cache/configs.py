"""What cache manifests have where images have their config, and several of them as one. Pure.

`records` are results by what they are of. A record names the records that it is made from (`inputs`: for each input
those that will do) and its own results (`layers`, or `chains` of some), both by their numbers; a layer names the one
below it (`parent`, 0 where it is left out, and -1 for none). See buildkit cache/remotecache/v1/spec.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

CONFIG_TYPE = "application/vnd.buildkit.cacheconfig.v0"

Config: TypeAlias = Mapping[str, Any]


def united(configs: Iterable[Config]) -> dict[str, Any]:
    """One config with the layers and records of all, equal ones once. Raises LookupError, TypeError, AttributeError
    or RecursionError for what is no config."""
    layers, records = _Numbered(), _Numbered()
    for config in configs:
        _add_records(config.get("records") or (), records, _add_layers(config.get("layers") or (), layers))
    return {"layers": layers.items, "records": records.items}


class _Numbered:
    """Items in a list, each once; `add` tells an item's number."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def add(self, item: dict[str, Any]) -> int:
        number = self._numbers.setdefault(json.dumps(item, sort_keys=True), len(self.items))
        if number == len(self.items):
            self.items.append(dict(item))
        return number


def _add_layers(layers: Any, known: _Numbered) -> Mapping[int, int]:
    """Add layers, each after its parent; returns their new numbers by their old ones."""
    numbers = {-1: -1}

    def place(number: int) -> int:
        if number not in numbers:
            layer = layers[number]
            numbers[number] = known.add({**layer, "parent": place(layer.get("parent", 0))})
        return numbers[number]

    for number in range(len(layers)):
        place(number)
    return numbers


def _add_records(records: Any, known: _Numbered, layers: Mapping[int, int]) -> None:
    """Add records, each after its inputs. Results are not what makes them equal: an equal record gets all of them."""
    numbers: dict[int, int] = {}

    def place(number: int) -> int:
        if number not in numbers:
            record = records[number]
            inputs = [
                sorted(({**choice, "link": place(choice["link"])} for choice in choices), key=json.dumps)
                for choices in record.get("inputs") or ()
            ]
            numbers[number] = known.add({"digest": record["digest"]} | ({"inputs": inputs} if inputs else {}))
            _add_results(record, known.items[numbers[number]], layers)
        return numbers[number]

    for number in range(len(records)):
        place(number)


def _add_results(record: Config, whole: dict[str, Any], layers: Mapping[int, int]) -> None:
    alone = [{**item, "layer": layers[item["layer"]]} for item in record.get("layers") or ()]
    chains = [{**item, "layers": [layers[layer] for layer in item["layers"]]} for item in record.get("chains") or ()]
    for name, results in (("layers", alone), ("chains", chains)):
        kept = whole.get(name, [])
        if new := [item for item in results if item not in kept]:
            whole[name] = [*kept, *new]

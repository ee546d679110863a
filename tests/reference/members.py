"""Slow twin of `json_members`."""

import json
from typing import Any


def objects_of(body: bytes) -> list[list[str]]:
    """The keys of every object of a JSON text as they are written, duplicates and all."""
    found: list[list[str]] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        found.append([key for key, _ in pairs])

    json.loads(body, object_pairs_hook=note)
    return found


def large_integers(body: bytes) -> int:
    """How many integers of a JSON text fit neither int64 nor uint64."""
    found: list[int] = []
    json.loads(body, parse_int=lambda digits: found.append(int(digits)))
    return sum(not -(2**63) <= value < 2**64 for value in found)

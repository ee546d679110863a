"""Which request path is which endpoint.

A pattern names the last segments of a path, all of them exactly: `/model/{model}/converse`. `*`
stands for any one segment, `{model}` for one that names the model; both may have something behind
them in the segment (`/models/{model}:generateContent`). `/` is the root and nothing else.
"""

import re
from collections.abc import Iterable
from functools import cache


def matches(pattern: str, path: str) -> bool:
    """Whether a canonical path, with or without a slash at its end, is of the pattern."""
    path = path.rstrip("/")
    if pattern == "/":
        return not path
    tail = _tail(pattern)
    return path.endswith(tail) and _regex(pattern).search(path) is not None


def model_in(patterns: Iterable[str], path: str) -> str:
    """The segment of `path` that names the model, by the first pattern that has one."""
    for pattern in patterns:
        if "{model}" in pattern and (found := _regex(pattern).search(path.rstrip("/"))):
            return found["model"]
    return ""


def specificity(pattern: str) -> tuple[int, int]:
    """Of two patterns that match a path, the one with more segments is meant, then with fewer `*`."""
    return pattern.count("/"), -pattern.count("*") - pattern.count("{model}")


@cache
def _tail(pattern: str) -> str:
    """What a path of this pattern ends with: compared first, because it is cheap."""
    return re.split(r"\*|\}", pattern)[-1]


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern).replace(r"\*", "[^/]+").replace(r"\{model\}", "(?P<model>[^/]+)")
    return re.compile(escaped + r"\Z")

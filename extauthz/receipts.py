"""`extauthz receipts verify`: which requests in an Envoy access log reached an upstream unchecked.

Each line is a JSON object with at least `upstream` (%UPSTREAM_HOST%), `request_id`
(%REQ(X-REQUEST-ID)%) and `receipt` (%DYNAMIC_METADATA(envoy.filters.http.ext_authz:receipt)%): only
the answer to a check can write the last one, while anybody can send a header of that name.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from extauthz.core.receipts import Fault, Inspection, read_keys, verify

#: A second request with a receipt of the last this many is a replay; some 40 MB. An older one is
#: caught only where its request has another x-request-id, that is if Envoy makes these itself.
_REMEMBERED: Final = 250_000
#: Longer than a line that Envoy writes: its headers are 60 KB.
_MAX_LINE_BYTES: Final = 1024 * 1024
_SHOWN: Final = 10
#: How a value that is not there is written: by json_format, and in text.
_NOTHING: Final = (None, "", "-")
_ROWS: Final = (
    (Inspection.INSPECTED, "inspected"),
    (Inspection.IN_PART, "inspected, but for what is no text"),
    (Inspection.NOT_ENFORCED, "inspected and let through on trial (shadow)"),
    (Inspection.NOT_INSPECTED, "let through without inspection, by the policy"),
)


@dataclass(frozen=True, slots=True)
class Offender:
    """A request that no receipt vouches for. `path` may hold a prompt."""

    fault: str
    time: str
    request_id: str
    path: str


@dataclass(slots=True)
class Audit:
    """What an access log shows. `good` is what to ask for."""

    requests: int = 0
    upstream: int = 0
    checked: Counter[Inspection] = field(default_factory=Counter)
    #: Receipts that say "not inspected", by the rule that let the request through.
    by_rule: Counter[str] = field(default_factory=Counter)
    #: Receipts that prove nothing, by why.
    invalid: Counter[str] = field(default_factory=Counter)
    #: Requests that reached an upstream without a receipt.
    unchecked: int = 0
    #: Lines that could not be read: nothing is known of their requests.
    unreadable: int = 0
    offenders: list[Offender] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every request that reached an upstream has a receipt of its own."""
        return not (self.unchecked or self.invalid or self.unreadable)


def audit(lines: Iterable[bytes], keys: Sequence[bytes]) -> Audit:
    """Go through an access log. Its last line does not count while it is being written."""
    found, seen = Audit(), _Seen()
    for line in lines:
        entry = _entry(line)
        if entry is not None:
            _count(found, entry, keys, seen)
        elif line.endswith(b"\n") or len(line) >= _MAX_LINE_BYTES:
            found.unreadable += 1
    return found


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) and "upstream" in entry else None


def _count(found: Audit, entry: dict[str, Any], keys: Sequence[bytes], seen: "_Seen") -> None:
    found.requests += 1
    if entry["upstream"] in _NOTHING:
        return
    found.upstream += 1
    text = entry.get("receipt")
    if text in _NOTHING:
        found.unchecked += 1
        _note(found, "UNCHECKED", entry)
        return
    receipt = verify(keys, str(text), str(entry.get("request_id") or ""))
    if isinstance(receipt, Fault) or seen.before(str(text)):
        fault = receipt.value if isinstance(receipt, Fault) else "replayed"
        found.invalid[fault] += 1
        _note(found, fault, entry)
        return
    found.checked[receipt.inspection] += 1
    if receipt.inspection is Inspection.NOT_INSPECTED:
        found.by_rule[str(entry.get("rule"))] += 1


def _note(found: Audit, fault: str, entry: dict[str, Any]) -> None:
    if len(found.offenders) < _SHOWN:
        shown = (str(entry.get(name) or "-") for name in ("time", "request_id", "path"))
        found.offenders.append(Offender(fault, *shown))


class _Seen:
    """The last receipts, oldest first."""

    def __init__(self) -> None:
        self._seals: dict[str, None] = {}

    def before(self, text: str) -> bool:
        """Whether a receipt was seen before; it is from now on."""
        seal = text[-43:]
        if seal in self._seals:
            return True
        self._seals[seal] = None
        if len(self._seals) > _REMEMBERED:
            del self._seals[next(iter(self._seals))]
        return False


def as_text(found: Audit, *, show: bool) -> str:
    """The audit for people; `show` adds the paths of requests that no receipt vouches for."""
    alone = found.requests - found.upstream
    lines = [f"{found.requests:>9}  requests, {alone} of which Envoy answered alone"]
    lines += [f"{found.checked[how]:>9}  {text}" for how, text in _ROWS]
    lines += [f"{count:>9}    by rule {rule!a}" for rule, count in found.by_rule.most_common()]
    lines.append(f"{found.invalid.total():>9}  with an INVALID receipt")
    lines += [f"{count:>9}    {fault}" for fault, count in found.invalid.most_common()]
    lines.append(f"{found.unchecked:>9}  UNCHECKED: reached an upstream without a receipt")
    if found.unreadable:
        lines.append(f"{found.unreadable:>9}  lines that could not be read")
    for one in found.offenders:
        # Whoever sent the request may have chosen its id, too.
        path = f" {one.path!a}" if show else ""
        lines.append(f"{one.fault}: {one.time!a} {one.request_id!a}{path}")
    return "\n".join(lines)


def as_json(found: Audit, *, show: bool) -> str:
    """The audit for machines."""
    shown = ("fault", "time", "request_id", *(["path"] if show else []))
    data = {
        "good": found.good,
        "requests": found.requests,
        "upstream": found.upstream,
        "checked": {how.name.lower(): found.checked[how] for how in Inspection},
        "not_inspected_by_rule": dict(found.by_rule),
        "invalid": dict(found.invalid),
        "unchecked": found.unchecked,
        "unreadable": found.unreadable,
        "offenders": [{name: getattr(one, name) for name in shown} for one in found.offenders],
    }
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("verify", help="count the requests that went upstream unchecked")
    check.add_argument("access_log", help="Envoy's JSON access log; - for standard input")
    check.add_argument("--key", type=Path, required=True, help="the file of --receipt-key")
    check.add_argument("--json", action="store_true", help="for machines")
    check.add_argument("--show", action="store_true", help="show paths; they may hold prompts")


def run(parsed: argparse.Namespace) -> int:
    """Exit status: 0 when every request that reached an upstream has a valid receipt, 1 if not."""
    keys = read_keys(parsed.key.read_bytes())
    if parsed.access_log == "-":
        found = audit(_lines(sys.stdin.buffer), keys)
    else:
        with Path(parsed.access_log).open("rb") as log:
            found = audit(_lines(log), keys)
    sys.stdout.write((as_json if parsed.json else as_text)(found, show=parsed.show) + "\n")
    return 0 if found.good else 1


def _lines(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.readline(_MAX_LINE_BYTES), b"")

"""`extauthz budget`: show, reset and grant what a running server counts, and name who uses most.

It speaks to the socket of `--control` (`extauthz.control`), one JSON object a line each way.
"""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

_WAIT_S: Final = 15.0
#: Of an answer: 1,000 consumers whose names have 2 KB each.
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
_WHOSE: Final = ("principal", "tenant", "route", "model", "limit")
_VARIABLE: Final = "EXTAUTHZ_CONTROL"
_NO_SERVER: Final = "what answers is no extauthz server"
#: Unit, and how many seconds it has; shown are the two largest that are there.
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def add_arguments(parser: argparse.ArgumentParser, environ: Mapping[str, str] = os.environ) -> None:
    """Declare the flags."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, text in (
        ("show", "how limits stand"),
        ("reset", "make limits as new"),
        ("grant", "give back some of what was used"),
        ("top", "who uses most"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--socket",
            type=Path,
            default=environ.get(_VARIABLE) or None,
            help=f"the server's --control [{_VARIABLE}]",
        )
        command.add_argument("--json", action="store_true", help="for machines")
        if name == "top":
            command.add_argument("--count", type=int, default=20, help="how many of them")
            continue
        command.add_argument(
            "--principal", help="whose, such as jwt:payload/sub:alice; '' for nobody"
        )
        command.add_argument("--tenant", help="whose")
        command.add_argument("--route", help="a route of the policy")
        command.add_argument("--model", help="a model of the policy, or other")
        command.add_argument("--limit", help="only this limit")
        if name == "grant":
            command.add_argument(
                "--amount", type=_number, required=True, help="in the unit of the limit"
            )


def run(parsed: argparse.Namespace) -> int:
    """Exit status: 0 done, 1 nothing matched. Raises ValueError or OSError for anything else."""
    if parsed.socket is None:
        msg = f"say where the server is: --socket PATH, or {_VARIABLE}"
        raise ValueError(msg)
    asked = {"command": parsed.command} | {
        name: value
        for name in (*_WHOSE, "amount", "count")
        if (value := getattr(parsed, name, None)) is not None
    }
    answer = ask(parsed.socket, asked)
    if "error" in answer:
        raise ValueError(answer["error"])
    matched = answer.get("consumers" if parsed.command == "top" else "limits")
    if matched is None:
        raise _told(parsed.socket, _NO_SERVER)
    if parsed.json:
        sys.stdout.write(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif matched:
        lines = _consumers(matched) if parsed.command == "top" else _limits(matched)
        sys.stdout.write("\n".join(lines) + "\n")
    for one in answer.get("unnamed", ()):
        flags = " and ".join(f"--{part}" for part in one["needs"])
        sys.stderr.write(f"{one['name']} is not among them: it needs {flags}\n")
    if not matched:
        sys.stderr.write("nothing matched\n")
    return 0 if matched else 1


def ask(path: Path, question: Mapping[str, Any]) -> dict[str, Any]:
    """The server's answer. Raises OSError that says what is wrong with the socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_WAIT_S)
        try:
            connection.connect(str(path))
            connection.sendall(orjson.dumps(question) + b"\n")
            line = _line(connection)
        except FileNotFoundError as error:
            raise _told(path, "there is no socket; does the server have --control?") from error
        except PermissionError as error:
            raise _told(path, "only the user that the server runs as may ask it") from error
        except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError) as error:
            raise _told(path, "no server answers") from error
        except TimeoutError as error:
            raise _told(path, f"no answer within {_WAIT_S:.0f} s") from error
        except OSError as error:
            raise _told(path, error.strerror or str(error)) from error
    try:
        answer = orjson.loads(line)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise _told(path, _NO_SERVER)
    return answer


def _line(connection: socket.socket) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n") and len(found) < _MAX_ANSWER_BYTES:
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionResetError
        found += piece
    return bytes(found)


def _told(path: Path, text: str) -> OSError:
    return OSError(f"{path}: {text}")


def _limits(limits: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    rows = [
        (
            one["name"] + (" (shadow)" if one["shadow"] else ""),
            one["count"],
            "+".join(one["by"]) or "all",
            one["window"],
            _amount(one["used"]),
            _amount(one["remaining"]),
            _amount(one["amount"]),
            _span(one["reset_s"]),
        )
        for one in limits
    ]
    head = ("limit", "count", "by", "window", "used", "remaining", "amount", "as new in")
    return _table(head, rows, left=4)


def _consumers(consumers: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    rows = [
        (
            _safe(one["principal"]) or "(nobody)",
            one["limit"] or "-",
            _amount(one["remaining"]) if one["limit"] else "-",
            _amount(one["tokens"]),
            _amount(one["requests"]),
        )
        for one in consumers
    ]
    head = ("principal", "strictest limit", "remaining", "tokens", "requests")
    return _table(head, rows, left=2)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> Iterable[str]:
    """Columns with two blanks between them, the first `left` of them flush left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    aligned: list[Callable[[str, int], str]] = [
        str.ljust if index < left else str.rjust for index in range(len(head))
    ]
    for row in (head, *rows):
        cells = zip(aligned, row, widths, strict=True)
        yield "  ".join(align(cell, width) for align, cell, width in cells).rstrip()


def _amount(amount: float) -> str:
    """Money has up to 6 decimals; everything else is whole."""
    if amount == int(amount):
        return f"{int(amount):,}"
    return f"{amount:,.6f}".rstrip("0").rstrip(".")


def _span(seconds: float) -> str:
    left = int(-(-seconds // 1))
    parts = []
    for unit, size in _UNITS:
        if count := left // size:
            parts.append(f"{count} {unit}")
        left %= size
    return " ".join(parts[:2]) or "now"


def _safe(text: str) -> str:
    """A name that does nothing to a terminal."""
    return text if text.isascii() and text.isprintable() else ascii(text)


def _number(text: str) -> float:
    return float(text) if "." in text or "e" in text.lower() else int(text)

"""`extauthz budget`: what it asks, what it prints, and how it exits."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from extauthz import budget, cli

CALLS = {
    "name": "calls",
    "count": "requests",
    "by": ["principal"],
    "window": "every minute",
    "amount": 600.0,
    "used": 588,
    "remaining": 12,
    "reset_s": 58.8,
    "shadow": False,
}
MONEY = CALLS | {
    "name": "spending",
    "count": "cost",
    "by": [],
    "window": "calendar month",
    "amount": 2_500.5,
    "used": 0.25,
    "remaining": 2_500.25,
    "reset_s": 273_900.0,
    "shadow": True,
}
SHOWN = {"limits": [CALLS, MONEY], "unnamed": []}


class Server:
    """Answers one question with the same words, whatever it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answer = b""
        self.asked: dict[str, Any] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def says(self, answer: Any) -> "Server":
        self.answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n"
        self._thread.start()
        return self

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            with connection.makefile("rb") as lines:
                self.asked = json.loads(lines.readline())
            connection.sendall(self.answer)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "c.sock")
    yield found
    found.close()


def run(server: Server, command: str, *flags: str) -> int:
    return cli.main(["budget", command, "--socket", str(server.path), *flags])


def test_limits_are_a_table_for_people(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(server.says(SHOWN), "show", "--principal", "jwt:sub:alice") == 0

    assert capsys.readouterr().out.splitlines() == [
        "limit              count     by         window          used  remaining   amount  as new in",
        "calls              requests  principal  every minute     588         12      600       59 s",
        "spending (shadow)  cost      all        calendar month  0.25   2,500.25  2,500.5    3 d 4 h",
    ]
    assert server.asked == {"command": "show", "principal": "jwt:sub:alice"}


def test_machines_get_the_answer_as_it_is(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server.says(SHOWN), "show", "--json") == 0

    assert json.loads(capsys.readouterr().out) == SHOWN


def test_all_that_is_named_is_asked_for_also_by_an_empty_name(server: Server) -> None:
    flags = ["--principal", "", "--tenant", "blue", "--route", "chat", "--model", "large"]

    assert run(server.says(SHOWN), "reset", *flags, "--limit", "calls") == 0

    assert server.asked == {
        "command": "reset",
        "principal": "",
        "tenant": "blue",
        "route": "chat",
        "model": "large",
        "limit": "calls",
    }


@pytest.mark.parametrize(("text", "amount"), [("50000", 50_000), ("0.25", 0.25), ("1e3", 1_000.0)])
def test_a_grant_has_an_amount(server: Server, text: str, amount: float) -> None:
    assert run(server.says(SHOWN), "grant", "--limit", "calls", "--amount", text) == 0

    assert server.asked == {"command": "grant", "limit": "calls", "amount": amount}


@pytest.mark.parametrize(
    "flags", [["grant"], ["grant", "--amount", "many"], ["show", "--amount", "5"], ["drop"], []]
)
def test_a_wrong_command_line_exits_with_2(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["budget", *flags])

    assert stopped.value.code == 2
    assert "usage: extauthz" in capsys.readouterr().err


def test_the_heaviest_are_a_table_for_people_and_do_nothing_to_a_terminal(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    consumers = [
        {"principal": "key:\x1b[2Jé", "tokens": 12_345, "requests": 7, "limit": "calls", "remaining": 12},
        {"principal": "", "tokens": 9, "requests": 1, "limit": None, "remaining": None},
    ]  # fmt: skip

    assert run(server.says({"consumers": consumers}), "top", "--count", "2") == 0

    assert capsys.readouterr().out.splitlines() == [
        "principal          strictest limit  remaining  tokens  requests",
        r"'key:\x1b[2J\xe9'  calls                   12  12,345         7",
        "(nobody)           -                        -       9         1",
    ]
    assert server.asked == {"command": "top", "count": 2}


@pytest.mark.parametrize("answer", [{"limits": [], "unnamed": []}, {"consumers": []}])
def test_where_nothing_matches_it_says_so_and_exits_with_1(
    server: Server, answer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    command = "show" if "limits" in answer else "top"

    assert run(server.says(answer), command) == 1

    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "nothing matched\n")


def test_what_would_match_with_more_names_is_told(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"limits": [CALLS], "unnamed": [{"name": "long", "needs": ["tenant", "route"]}]}

    assert run(server.says(answer), "show") == 0

    assert capsys.readouterr().err == ("long is not among them: it needs --tenant and --route\n")


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("extauthz: ")
    return shown.err


def test_what_the_server_refuses_is_told_and_exits_with_2(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = {"error": "the policy has no limit of that name; it has calls"}

    assert run(server.says(refused), "show", "--limit", "nonsense") == 2

    assert error_of(capsys) == f"extauthz: {refused['error']}\n"


@pytest.mark.parametrize(
    "answer", [b"", b'{"limits"', b"HTTP/1.1 400\r\n", b"[]\n", b"null\n", b"{}\n"]
)
def test_what_is_no_server_of_ours_exits_with_2(
    server: Server, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server.says(answer), "show") == 2

    assert f"{server.path}: " in error_of(capsys)


def test_without_a_socket_it_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EXTAUTHZ_CONTROL", raising=False)
    assert cli.main(["budget", "show"]) == 2
    assert "--socket PATH" in error_of(capsys)

    monkeypatch.setenv("EXTAUTHZ_CONTROL", str(tmp_path / "nowhere"))
    assert cli.main(["budget", "show"]) == 2
    assert f"{tmp_path}/nowhere: there is no socket; does the server have --control?" in error_of(
        capsys
    )


def test_a_server_that_is_gone_exits_with_2(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.close()

    assert run(server, "show") == 2

    assert f"{server.path}: no server answers" in error_of(capsys)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may connect to every socket")
def test_who_may_not_connect_is_told_who_may(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.path.chmod(0)

    assert run(server, "show") == 2

    assert "only the user that the server runs as" in error_of(capsys)


def test_a_file_that_is_no_socket_and_a_path_too_long_exit_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, tmp_path / ("x" * 200)):
        assert cli.main(["budget", "show", "--socket", str(path)]) == 2
        assert f"{path}: " in error_of(capsys)


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "_WAIT_S", 0.01)

    assert run(server, "show") == 2  # it listens, and does not accept

    assert "no answer within" in error_of(capsys)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "now"),
        (0.2, "1 s"),
        (59.1, "1 min"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (3_661, "1 h 1 min"),
        (86_399.5, "1 d"),
        (90_061, "1 d 1 h"),
    ],
)
def test_a_span_is_told_by_its_two_largest_units(seconds: float, told: str) -> None:
    assert budget._span(seconds) == told


@pytest.mark.parametrize(
    ("amount", "told"),
    [(0, "0"), (1_234.0, "1,234"), (0.25, "0.25"), (0.000_000_4, "0"), (2.000_000_01, "2")],
)
def test_an_amount_is_told_with_the_decimals_that_it_has(amount: float, told: str) -> None:
    assert budget._amount(amount) == told

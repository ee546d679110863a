"""`extauthz budget` on a server that runs: what an operator sees and changes, and how it exits."""

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from extauthz import cli
from extauthz.server import Server
from tests import as_envoy, builders, canary_model
from tests.running import Running, running, settings_for

POLICY = """
version: 1
identity: [{source: header, header: x-user}]
tenant: [{source: header, header: x-team}]
routes: [{name: chat, match: {paths: [/v1/chat/completions]}, action: allow}]
default: {action: deny}
budgets:
  models: [{name: large, match: ["large-*"], input_price: 10, output_price: 1000}]
  limits:
    - {name: calls, count: requests, amount: 3, calendar: month, by: [principal]}
    - {name: tokens, count: total_tokens, amount: 10000, calendar: month, by: [principal]}
    - {name: spending, count: cost, amount: 9.5, calendar: month, by: [tenant], models: [large]}
    - {name: everybody, count: output_tokens, amount: 50000, calendar: month, shadow: true}
"""
ALICE = ("--principal", "header:x-user:alice")


class Operator:
    """Somebody at a terminal of the machine that the server runs on."""

    def __init__(self, socket: Path, peer: Running, capsys: pytest.CaptureFixture[str]) -> None:
        self.socket, self._peer, self._capsys = socket, peer, capsys
        self._calls = 0

    async def run(self, *words: str, socket: Path | None = None) -> tuple[int, str, str]:
        """Exit status, and what was printed on both outputs."""
        command, *flags = words
        where = ("--socket", str(socket or self.socket))
        status = await asyncio.to_thread(cli.main, ["budget", command, *where, *flags])
        return status, *self._capsys.readouterr()

    async def json(self, *words: str) -> Any:
        status, out, _ = await self.run(*words, "--json")
        assert status == 0
        return json.loads(out)

    async def used(self, *words: str) -> dict[str, float]:
        """What is used of each limit after a command."""
        return {one["name"]: one["used"] for one in (await self.json(*words))["limits"]}

    async def chat(self, user: str = "alice", **body: Any) -> bytes:
        """A request that a user sends through Envoy."""
        self._calls += 1
        said = {"model": "large-1", "messages": [{"role": "user", "content": "Hello"}]}
        return await self._peer.check(
            builders.call(
                id=str(self._calls),
                headers={"x-user": user, "x-team": "blue", "content-type": "application/json"},
                body=json.dumps(said | {"max_tokens": 1_000} | body).encode(),
            )
        )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return canary_model.build(tmp_path_factory.mktemp("canary"))


@pytest.fixture
async def operator(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Operator]:
    async with serving(model, tmp_path, capsys) as found:
        yield found


@asynccontextmanager
async def serving(
    model: Path, path: Path, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Operator]:
    policy, socket = path / "policy.yaml", path / "c.sock"
    policy.write_text(POLICY)
    server = Server(settings_for(model, policy, path / "records", control=socket))
    async with running(server) as peer:
        yield Operator(socket, peer, capsys)
    assert not socket.exists()


async def test_what_requests_reserved_is_shown_to_its_operator(operator: Operator) -> None:
    await operator.chat()
    await operator.chat(user="bob")

    status, out, err = await operator.run("show", *ALICE)

    assert status == 0
    head, *rows = [line.split("  ") for line in out.splitlines()]
    assert head[0] == "limit"
    assert [row[0] for row in rows] == ["calls", "tokens", "everybody (shadow)"]
    assert err == "spending is not among them: it needs --tenant\n"
    assert await operator.used("show", *ALICE, "--limit", "calls") == {"calls": 1}
    assert await operator.used("show", "--limit", "everybody") == {"everybody": 2_000}
    (spending,) = (await operator.json("show", "--tenant", "header:x-team:blue"))["limits"][:1]
    assert spending["name"] == "spending"
    assert 2 < spending["used"] < 2.01
    assert spending["used"] + spending["remaining"] == pytest.approx(9.5)


async def test_who_was_refused_may_go_on_after_a_reset(operator: Operator) -> None:
    answers = [await operator.chat() for _ in range(4)]
    assert [as_envoy.allows(answer) for answer in answers] == [True, True, True, False]

    status, out, err = await operator.run("reset", *ALICE, "--limit", "calls")

    assert (status, err) == (0, "")
    assert out.splitlines()[1].split()[:2] == ["calls", "requests"]
    assert await operator.used("show", *ALICE, "--limit", "calls") == {"calls": 0}
    assert as_envoy.allows(await operator.chat())


async def test_a_grant_is_for_one_user_and_as_large_as_it_says(operator: Operator) -> None:
    for user in ("alice", "bob"):
        for _ in range(3):
            await operator.chat(user, max_tokens=10)

    assert await operator.used("grant", *ALICE, "--limit", "calls", "--amount", "1") == {"calls": 2}

    assert as_envoy.allows(await operator.chat("alice", max_tokens=10))
    assert not as_envoy.allows(await operator.chat("alice", max_tokens=10))
    assert not as_envoy.allows(await operator.chat("bob", max_tokens=10))


async def test_the_heaviest_users_are_named_to_the_operator_alone(operator: Operator) -> None:
    await operator.chat("alice", max_tokens=100)
    await operator.chat("bob", max_tokens=2_000)
    await asyncio.sleep(0)

    status, out, _ = await operator.run("top")

    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "principal",
        "header:x-user:bob",
        "header:x-user:alice",
    ]
    (heaviest,) = (await operator.json("top", "--count", "1"))["consumers"]
    assert heaviest["principal"] == "header:x-user:bob"
    assert heaviest["requests"] == 1
    assert 2_000 < heaviest["tokens"] < 2_050
    assert heaviest["limit"] == "calls"


async def test_nobody_and_no_such_limit_are_nothing_that_matched(operator: Operator) -> None:
    assert await operator.run("top") == (1, "", "nothing matched\n")
    status, out, err = await operator.run("show", "--limit", "calls")
    assert (status, out) == (1, "")
    assert err == "calls is not among them: it needs --principal\nnothing matched\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["show", "--limit", "callz"],
            "the policy has no limit of that name; it has calls, tokens",
        ),
        (["show", "--route", "talk"], "the policy has no route of that name; it has chat, default"),
        (["reset", "--model", "tiny"], "the policy has no model of that name; it has other, large"),
        (["grant", *ALICE, "--amount", "1"], "these limits count output_tokens and requests and"),
        (["grant", "--limit", "everybody", "--amount", "0"], "an amount must be above 0"),
        (["top", "--count", "0"], "count must be 1 to 1000"),
        (["show", "--principal", "x" * 20_000], "more than 16384 bytes"),
    ],
)
async def test_what_the_server_refuses_is_said_and_changes_nothing(
    operator: Operator, words: list[str], error: str
) -> None:
    await operator.chat()

    status, out, err = await operator.run(*words)

    assert (status, out) == (2, "")
    assert err.startswith(f"extauthz: {error}")
    assert await operator.used("show", *ALICE, "--limit", "calls") == {"calls": 1}


async def test_without_a_server_on_the_socket_it_says_so(operator: Operator) -> None:
    nowhere = operator.socket.with_name("nowhere")

    status, out, err = await operator.run("show", socket=nowhere)

    assert (status, out) == (2, "")
    assert err == f"extauthz: {nowhere}: there is no socket; does the server have --control?\n"


async def test_the_socket_is_for_its_user_and_gone_after_the_server(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(model, tmp_path, capsys) as operator:
        assert stat.S_IMODE(operator.socket.stat().st_mode) == 0o600
        assert await operator.used("show", "--limit", "everybody") == {"everybody": 0}

    status, _, err = await operator.run("show")
    assert status == 2
    assert "there is no socket" in err


async def test_a_socket_that_cannot_be_made_stops_the_start_and_is_named(
    model: Path, tmp_path: Path
) -> None:
    policy, taken = tmp_path / "policy.yaml", tmp_path / "taken"
    policy.write_text(POLICY)
    taken.write_text("mine")
    server = Server(settings_for(model, policy, tmp_path / "records", control=taken))

    with pytest.raises(OSError, match=f"cannot listen on {taken}: there is a file that is no"):
        async with running(server):
            pass

    assert taken.read_text() == "mine"

"""The control socket shows and changes what is counted, for the server's own user and nobody else."""

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz import control
from extauthz.control import Control, Desk
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets, By, Calendar, Count, Every, Limit, Model
from extauthz.core.budget.report import Usage
from extauthz.core.policy import Policy
from extauthz.store import Standing
from extauthz.store.memory import MemoryStore, private_store
from extauthz.store.options import StoreOptions
from extauthz.telemetry.consumers import Consumer
from tests import builders

ALICE = "header:x-user:alice"
LIMITS = (
    Limit(name="calls", count=Count.REQUESTS, amount=60, every=Every.HOUR, by=(By.PRINCIPAL,)),
    Limit(name="spending", count=Count.COST, amount=2.5, calendar=Calendar.MONTH, by=(By.TENANT,)),
    Limit(
        name="long",
        count=Count.OUTPUT_TOKENS,
        amount=1_000,
        calendar=Calendar.DAY,
        by=(By.PRINCIPAL, By.ROUTE),
        routes=("chat",),
        models=("large",),
        shadow=True,
    ),
    Limit(name="at-once", count=Count.CONCURRENT, amount=5, by=(By.PRINCIPAL,)),
    Limit(name="all", count=Count.TOTAL_TOKENS, amount=10_000, calendar=Calendar.HOUR),
    Limit(
        name="chat-day",
        count=Count.INPUT_TOKENS,
        amount=500,
        calendar=Calendar.DAY,
        by=(By.PRINCIPAL,),
        routes=("chat",),
    ),
)
POLICY = Policy(
    digest="p" * 64,
    routes=(builders.rule(name="chat"), builders.rule(name="plain")),
    default=builders.rule(),
    budgets=Budgets(limits=LIMITS, models=(Model(name="large"),)),
)
HEAVY = [Consumer(ALICE, "d" * 64, 500, 3, "calls", 57), Consumer("", "", 9, 1, "", 0.0)]


def top(most: int) -> Sequence[Consumer]:
    return HEAVY[:most]


@pytest.fixture
async def store() -> MemoryStore:
    """What Alice used on chat: a request of 100 tokens and 200 more, for 0.5 of money."""
    found = private_store(StoreOptions(counters=256, reservations=64))
    found.serve(POLICY.budgets)
    ask = Ask("7", ALICE, "blue", "chat", "large", Usage(100, 200), 1_000_000, 2_000_000)
    assert await found.reserve(ask, 0.0) is not None
    return found


@pytest.fixture
def desk(store: MemoryStore) -> Desk:
    return Desk(store, lambda: POLICY, top)


async def asked(desk: Desk, command: str, **question: Any) -> dict[str, Any]:
    answer = await desk.answer(json.dumps({"command": command} | question).encode())
    as_sent: dict[str, Any] = orjson.loads(orjson.dumps(answer))
    return as_sent


def used(answer: dict[str, Any]) -> dict[str, float]:
    return {one["name"]: one["used"] for one in answer["limits"]}


async def test_a_limit_is_shown_with_all_that_there_is_to_know(desk: Desk) -> None:
    (found,) = (await asked(desk, "show", tenant="blue", limit="spending"))["limits"]

    reset_s = found.pop("reset_s")
    assert 0 < reset_s <= 31 * 86_400
    assert found == {
        "name": "spending",
        "count": "cost",
        "by": ["tenant"],
        "window": "calendar month",
        "amount": 2.5,
        "used": 0.5,
        "remaining": 2.0,
        "shadow": False,
    }


async def test_every_limit_is_shown_whose_counter_is_named_and_the_others_by_what_they_need(
    desk: Desk,
) -> None:
    found = await asked(desk, "show", principal=ALICE)

    assert used(found) == {"calls": 1, "at-once": 1, "all": 300, "chat-day": 100}
    assert found["unnamed"] == [
        {"name": "spending", "needs": ["tenant"]},
        {"name": "long", "needs": ["route"]},
    ]
    everything = await asked(desk, "show", principal=ALICE, tenant="blue", route="chat")
    assert used(everything).keys() == {limit.name for limit in LIMITS}
    assert used(everything)["long"] == 200


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ({}, {"all"}),
        ({"route": "plain", "principal": ALICE}, {"calls", "at-once", "all"}),
        ({"model": "other", "principal": ALICE, "route": "chat"}, {"calls", "at-once", "all", "chat-day"}),
        ({"model": "large", "principal": ALICE, "route": "chat", "limit": "long"}, {"long"}),
        ({"route": "plain", "principal": ALICE, "limit": "long"}, set()),
    ],
)  # fmt: skip
async def test_limits_for_other_routes_and_models_are_not_meant(
    desk: Desk, question: dict[str, str], names: set[str]
) -> None:
    assert used(await asked(desk, "show", **question)).keys() == names


async def test_somebody_else_and_nobody_have_counters_of_their_own(desk: Desk) -> None:
    for principal in ("header:x-user:bob", ""):
        found = used(await asked(desk, "show", principal=principal))
        assert (found["calls"], found["all"]) == (0, 300)


async def test_a_reset_makes_what_is_meant_as_new_and_nothing_else(desk: Desk) -> None:
    answer = await asked(desk, "reset", principal=ALICE, limit="calls")

    assert used(answer) == {"calls": 0}
    assert used(await asked(desk, "show", principal=ALICE)) == {
        "calls": 0,
        "at-once": 1,
        "all": 300,
        "chat-day": 100,
    }
    assert used(await asked(desk, "reset", principal=ALICE)).keys() == {
        "calls", "at-once", "all", "chat-day",
    }  # fmt: skip


async def test_a_grant_gives_back_some_of_what_was_used(desk: Desk) -> None:
    tokens = await asked(desk, "grant", limit="all", amount=120)
    money = await asked(desk, "grant", tenant="blue", limit="spending", amount=0.25)
    day = await asked(desk, "grant", principal=ALICE, limit="chat-day", amount=100)

    assert used(tokens) == {"all": 180}
    assert (used(money), money["limits"][0]["remaining"]) == ({"spending": 0.25}, 2.25)
    assert used(day) == {"chat-day": 0}


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ({"limit": "all"}, "grant needs an amount"),
        ({"limit": "all", "amount": 0}, "an amount must be above 0"),
        ({"limit": "all", "amount": -5}, "an amount must be above 0"),
        ({"limit": "all", "amount": 1.5}, "an amount of tokens or requests is a whole number"),
        ({"limit": "all", "amount": 10**19}, "no more than a limit can have"),
        ({"limit": "all", "amount": 10**300}, "an amount must be above 0, and no more"),
        ({"limit": "spending", "tenant": "blue", "amount": 1e-10}, "an amount must be above 0"),
        ({"limit": "spending", "tenant": "blue", "amount": 1e300}, "no more than a limit can have"),
        ({"limit": "at-once", "principal": ALICE, "amount": 1}, "what is under way cannot"),
        ({"tenant": "blue", "amount": 1}, "these limits count cost and total_tokens: name one"),
        ({"limit": "all", "amount": "5"}, "Expected `int | float | null`, got `str`"),
    ],
)
async def test_a_grant_that_makes_no_sense_is_refused_and_changes_nothing(
    desk: Desk, question: dict[str, Any], error: str
) -> None:
    assert error in (await asked(desk, "grant", **question))["error"]
    assert used(await asked(desk, "show")) == {"all": 300}


@pytest.mark.parametrize("what", ["route", "model", "limit"])
async def test_a_name_that_the_policy_does_not_have_is_told_with_those_that_it_has(
    desk: Desk, what: str
) -> None:
    has = {"route": "chat, plain, default", "model": "other, large", "limit": "calls, spending"}

    error = (await asked(desk, "show", **{what: "nonsense"}))["error"]

    assert error.startswith(f"the policy has no {what} of that name; it has {has[what]}")


async def test_the_heaviest_are_named(desk: Desk) -> None:
    assert (await asked(desk, "top"))["consumers"] == [
        {
            "principal": ALICE,
            "digest": "d" * 64,
            "tokens": 500,
            "requests": 3,
            "limit": "calls",
            "remaining": 57,
        },
        {
            "principal": "",
            "digest": "",
            "tokens": 9,
            "requests": 1,
            "limit": None,
            "remaining": None,
        },
    ]
    assert len((await asked(desk, "top", count=1))["consumers"]) == 1
    for count in (0, -1, 1_001):
        assert (await asked(desk, "top", count=count))["error"] == "count must be 1 to 1000"


@pytest.mark.parametrize(
    "line",
    [
        b"\n", b"{}\n", b"[]\n", b"null\n", b"show\n", b'{"command":"drop"}\n', b"\xff\n",
        b'{"command":"show","princpal":"a"}\n', b'{"command":"show","principal":5}\n',
        b'{"command":"show","principal":"\\ud800"}\n', b'{"command":"grant","amount":true}\n',
        b'{"command":"grant","amount":NaN}\n', b'{"command":"grant","limit":"all","amount":1e999}\n',
        b"[" * 10_000 + b"\n",
    ],
)  # fmt: skip
async def test_what_is_no_question_is_an_error(desk: Desk, line: bytes) -> None:
    assert (await desk.answer(line)).keys() == {"error"}


@given(st.binary(max_size=60))
def test_no_line_is_more_than_an_error(line: bytes) -> None:
    desk = Desk(private_store(StoreOptions(counters=64, reservations=64)), lambda: POLICY, top)

    answer = asyncio.run(desk.answer(line + b"\n"))

    assert "failed" not in answer.get("error", "")


class _Broken(MemoryStore):
    """A store that fails, or never answers."""

    def __init__(self, failure: Exception | None) -> None:
        self.failure = failure

    async def standing(self, ask: Ask) -> list[Standing]:
        if self.failure:
            raise self.failure
        await asyncio.Event().wait()
        return []


async def test_a_bug_is_told_by_its_type_and_names_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(_Broken(KeyError(ALICE)), lambda: POLICY, top)

    assert await desk.answer(b'{"command":"show"}') == {"error": "the server failed: KeyError"}
    assert "alice" not in caplog.text
    assert "KeyError" in caplog.text


async def test_a_store_that_does_not_answer_is_waited_for_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control, "_ANSWER_S", 0.0)
    desk = Desk(_Broken(None), lambda: POLICY, top)

    assert await desk.answer(b'{"command":"show"}') == {"error": "the store did not answer in time"}


async def test_changes_are_logged_with_their_limits_and_without_whose_they_were(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    await asked(desk, "reset", principal=ALICE, limit="calls")
    await asked(desk, "grant", tenant="blue", limit="spending", amount=0.1)
    await asked(desk, "show", principal=ALICE)

    assert [one.getMessage() for one in caplog.records] == [
        "control socket: reset of limits: calls",
        "control socket: grant of limits: spending",
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.sock"


@pytest.fixture
async def served(path: Path, desk: Desk) -> AsyncIterator[Path]:
    found = Control(path, desk)
    await found.start()
    yield path
    await found.close()


async def told(path: Path, *lines: bytes) -> list[bytes]:
    """Each answer that comes before the server hangs up, or one for each line."""
    reader, writer = await asyncio.open_unix_connection(path)
    answers = []
    for line in lines:
        writer.write(line)
        answers.append(await reader.readline())
    writer.close()
    return answers


async def test_each_line_has_an_answer_of_one_line(served: Path) -> None:
    first, second, third = await told(
        served, b'{"command":"top","count":1}\n', b"nonsense\n", b'{"command":"show"}\n'
    )

    assert json.loads(first)["consumers"][0]["principal"] == ALICE
    assert "error" in json.loads(second)
    assert used(json.loads(third)) == {"all": 300}


async def test_several_may_ask_at_once_and_no_change_is_lost(served: Path) -> None:
    grant = b'{"command":"grant","limit":"all","amount":1}\n'

    answers = await asyncio.gather(*(told(served, *[grant] * 10) for _ in range(10)))

    assert all(used(json.loads(line)) for lines in answers for line in lines)
    (last,) = await told(served, b'{"command":"show"}\n')
    assert used(json.loads(last)) == {"all": 200}


def mode_without_umask(path: Path, desk: Desk) -> int:
    before = os.umask(0)
    try:
        found = Control(path, desk)
    finally:
        os.umask(before)
    mode = path.stat().st_mode
    asyncio.run(found.close())
    return mode


def test_the_file_is_for_its_user_alone(path: Path, desk: Desk) -> None:
    mode = mode_without_umask(path, desk)

    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_the_file_never_was_for_others_either(
    path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "chmod", lambda *_: None)

    assert stat.S_IMODE(mode_without_umask(path, desk)) == 0o600


async def test_a_socket_that_a_dead_server_left_is_replaced(path: Path, desk: Desk) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    found = Control(path, desk)
    await found.start()

    assert len(await told(path, b"{}\n")) == 1
    await found.close()


async def test_a_server_that_lives_keeps_its_socket(served: Path, desk: Desk) -> None:
    with pytest.raises(OSError, match="another server listens here"):
        Control(served, desk)

    assert await told(served, b"{}\n") != [b""]


def test_a_file_that_is_no_socket_is_kept(path: Path, desk: Desk) -> None:
    path.write_text("mine")

    with pytest.raises(FileExistsError, match="a file that is no socket"):
        Control(path, desk)

    assert path.read_text() == "mine"


def test_a_link_is_no_socket(path: Path, desk: Desk) -> None:
    path.symlink_to("/nowhere")

    with pytest.raises(FileExistsError):
        Control(path, desk)


@pytest.mark.parametrize("name", ["nowhere/c.sock", "c" * 200])
def test_a_place_where_no_socket_can_be_is_an_os_error(
    tmp_path: Path, desk: Desk, name: str
) -> None:
    with pytest.raises(OSError, match=r"No such file|too long"):
        Control(tmp_path / name, desk)


def test_a_socket_that_took_our_place_is_left_alone(path: Path, desk: Desk) -> None:
    ours = Control(path, desk)
    path.rename(path.with_name("old"))
    theirs = Control(path, desk)

    asyncio.run(ours.close())

    assert path.exists()
    asyncio.run(theirs.close())
    assert not path.exists()


async def test_a_line_that_is_too_long_is_the_last_one(served: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(served)
    writer.write(b"x" * 20_000)

    assert json.loads(await reader.readline()) == {"error": "more than 16384 bytes"}
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()


async def test_who_says_nothing_is_hung_up_on(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_WAIT_S", 0.0)
    reader, writer = await asyncio.open_unix_connection(served)

    assert await reader.read() == b""
    writer.close()


async def test_half_a_line_is_no_question(served: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(served)
    writer.write(b'{"command":"reset"}')
    writer.write_eof()

    assert await reader.read() == b""
    writer.close()


async def test_more_connections_than_an_operator_needs_are_hung_up_on(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_MAX_CONNECTIONS", 1)
    reader, writer = await asyncio.open_unix_connection(served)
    writer.write(b"{}\n")
    await reader.readline()

    with pytest.raises(ConnectionError):
        raise_if_closed(await told(served, b"{}\n"))
    writer.write(b"{}\n")
    assert await reader.readline() != b""
    writer.close()


def raise_if_closed(answers: list[bytes]) -> None:
    if answers == [b""]:
        raise ConnectionError


async def test_closing_hangs_up_on_everybody(path: Path, desk: Desk) -> None:
    found = Control(path, desk)
    await found.start()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"{}\n")
    await reader.readline()

    await found.close()

    assert await reader.read() == b""
    writer.close()
    assert not await asyncio.to_thread(path.exists)
    with pytest.raises(FileNotFoundError):
        await told(path, b"{}\n")


def test_what_was_never_served_leaves_no_file(path: Path, desk: Desk) -> None:
    asyncio.run(Control(path, desk).close())

    assert not path.exists()

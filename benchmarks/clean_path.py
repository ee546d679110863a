"""What an honest chat request costs, stage by stage: CPU time, with views on and off.

Four servers in one run, in interleaved rounds: the shipped model or a scorer that answers at once,
each with all views and with none but the raw text. The stages are timed inside real checks by the
CPU time of the thread that runs them; `rest` is what no stage claims: the event loop, futures,
threads, and garbage collection.
"""

import argparse
import asyncio
import io
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop

from benchmarks.environment import print_table, save
from benchmarks.hostile import Agreeable
from benchmarks.workload import check_request, text
from extauthz import service
from extauthz.accounts import alone
from extauthz.core import reading, receipts
from extauthz.core.cancellation import Cancellation
from extauthz.core.policy import Detect, Policy, Rule, Views
from extauthz.core.reasons import Reason
from extauthz.model import directory
from extauthz.model.scorer import open_scorer
from extauthz.model.session import Session
from extauthz.model.tokenizer import WindowTokenizer
from extauthz.protocol import check as wire
from extauthz.service import Authorizer
from extauthz.settings import DEFAULT_MODEL
from extauthz.telemetry.metrics import Metrics
from extauthz.telemetry.observation import Observation
from extauthz.telemetry.records import RecordWriter

_SIZES: Final = {"0.5 KB": 512, "4 KB": 4 * 1024, "64 KB": 64 * 1024}
_VIEWS: Final = {"on": Views(), "off": Views(normalised=False, decoded=False, joined=False)}
_PATIENCE_S: Final = 120.0
_KEY: Final = bytes(32)


@dataclass
class _Meter:
    """CPU seconds by stage."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passes on what it is given
            start = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[stage] += time.thread_time() - start

        return call

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The stages timed wherever they are called from, until the end of the block."""
        with ExitStack() as stack:
            for stage, owner, name in _STAGES:
                plain = getattr(owner, name)
                # A generator does its work when it is read, so it is read here.
                function = (lambda *a, f=plain: [*f(*a)]) if name == "find" else plain
                setattr(owner, name, self.timed(stage, function))
                stack.callback(setattr, owner, name, plain)
            yield


_STAGES: Final[tuple[tuple[str, Any, str], ...]] = (
    ("protobuf in", wire, "read"),
    ("identity", service, "identify"),
    ("path", service, "canonical_path"),
    ("policy", Policy, "match"),
    ("dialect", service, "dialect_for"),
    ("hash", service, "_sha256"),
    ("body", reading, "read_body"),
    ("extract", reading, "extract"),
    ("views", reading, "grows_beyond_measure"),
    ("views", reading, "views"),
    ("views", reading, "joined"),
    ("rules", reading, "hidden_channels"),
    ("rules", reading, "find"),
    ("tokenizer", WindowTokenizer, "windows"),
    ("model", Session, "run"),
    ("decide", service, "decide"),
    ("receipt", receipts, "seal"),
    ("protobuf out", wire, "write"),
)


@dataclass
class _Server:
    """One of the four, with what it reported."""

    authorizer: Authorizer
    reasons: set[Reason]

    async def cpu_s(self, messages: Sequence[bytes]) -> float:
        """CPU seconds of the whole process for each message."""
        loop = asyncio.get_running_loop()
        start = time.process_time()
        for message in messages:
            await self.authorizer.check(message, loop.time() + _PATIENCE_S, Cancellation())
        await asyncio.sleep(0)  # the last record
        return (time.process_time() - start) / len(messages)


def _serve(scorer: service.ScoresTexts, views: Views, meter: _Meter) -> _Server:
    reasons: set[Reason] = set()
    metrics, records = Metrics(), RecordWriter(io.BytesIO())

    def observe(seen: Observation) -> None:
        reasons.add(seen.decision.reason)
        metrics.observe(seen)
        records.observe(seen)

    rule = Rule(detect=Detect(views=views))
    policy = Policy(digest="p" * 64, routes=(), default=rule)
    return _Server(
        Authorizer(policy, scorer, alone(), meter.timed("record", observe), _KEY), reasons
    )


def _messages(size: int, count: int) -> list[bytes]:
    """Chat requests of `size` bytes: a system text, and a user's prose that fills the rest."""
    return [check_request(_body(size, seed), number=seed) for seed in range(count)]


def _body(size: int, seed: int) -> bytes:
    head = (
        b'{"model":"gpt-4o-mini","temperature":0.2,"messages":[{"role":"system","content":'
        b'"You are a helpful assistant."},{"role":"user","content":"'
    )
    prose = text(size // 4, seed)[: size - len(head) - 4]
    return head + prose.encode() + b'"}]}'


async def _measure(rounds: int) -> list[dict[str, Any]]:
    served = directory.load(DEFAULT_MODEL)
    scorer = open_scorer(served, Session(served, "cpu", threads=1))
    scorers: dict[str, service.ScoresTexts] = {"shipped": scorer, "stub": Agreeable(served)}
    meter = _Meter()
    servers = {
        (model, views): _serve(scorers[model], _VIEWS[views], meter)
        for model in scorers
        for views in _VIEWS
    }
    rows = []
    for size, size_bytes in _SIZES.items():
        messages = _messages(size_bytes, max(1, min(20, 20_000 // size_bytes)))
        cells: dict[tuple[str, str], list[dict[str, float]]] = {key: [] for key in servers}
        for number in range(rounds + 1):
            for key, server in servers.items():
                spent = await _round(server, messages, meter)
                if number:  # the first round warms up
                    cells[key].append(spent)
        rows += [_row(size, *key, spent) for key, spent in cells.items()]
    scorer.close()
    found = set().union(*(server.reasons for server in servers.values()))
    if found != {Reason.CLEAN}:  # a benchmark of refusals would be a fast one
        raise RuntimeError(found)
    return rows


async def _round(server: _Server, messages: Sequence[bytes], meter: _Meter) -> dict[str, float]:
    """Seconds for each message, of the whole and of each stage, all of one pass."""
    meter.seconds.clear()
    with meter.attached():
        total = await server.cpu_s(messages)
    spent = {stage: seconds / len(messages) for stage, seconds in meter.seconds.items()}
    return defaultdict(float, spent | {"total": total})


def _row(size: str, model: str, views: str, rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    stages = [*dict.fromkeys(stage for stage, _, _ in _STAGES), "record"]
    medians = {
        stage: statistics.median(spent[stage] for spent in rounds) * 1e6
        for stage in ["total", *stages]
    }
    claimed = sum(medians[stage] for stage in stages)
    medians["rest"] = medians["total"] - claimed
    row = {f"{stage.replace(' ', '_')}_us": round(value, 1) for stage, value in medians.items()}
    return {"size": size, "model": model, "views": views} | row


def main() -> None:
    """Print the table and write results/clean_path.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rows = uvloop.run(_measure(rounds))
    columns = [f"{row['size']} {row['model']} {row['views']}" for row in rows]
    stages = [key for key in rows[0] if key.endswith("_us")]
    table = [
        (stage.removesuffix("_us").replace("_", " "), *(row[stage] for row in rows))
        for stage in stages
    ]
    print(
        "Microseconds of CPU per decision by size, model and views; median of", rounds, "rounds\n"
    )
    print_table(("stage", *columns), table)
    result = {
        "unit": "microseconds of CPU time per decision, median over rounds",
        "rounds": rounds,
        "model_digest": directory.load(DEFAULT_MODEL).digest,
        "rows": rows,
    }
    save("clean_path", result, ("onnxruntime", "tokenizers", "orjson", "numba", "protobuf"))


if __name__ == "__main__":
    main()

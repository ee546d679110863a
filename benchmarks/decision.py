"""What one whole decision costs, in-process: CPU time on the event loop and in the model.

Three servers side by side in one run, for each size of request:
  floor    a handler that answers a constant, reading nothing
  policy   a rule that allows without looking: protobuf, path, rule, decision, response
  inspect  everything: body, segments, views, tokenizer, windows, model, decision, response

The figure that survives a noisy machine is CPU time per decision. `inspect` minus the model's
own share is what we add to the classifier.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.environment import print_table, save
from benchmarks.workload import chat_body, check_request
from extauthz.accounts import alone
from extauthz.core.cancellation import Cancellation
from extauthz.core.policy import Action, Policy, Rule
from extauthz.core.reasons import Reason
from extauthz.model import directory
from extauthz.model.scorer import Scorer, open_scorer
from extauthz.model.session import Session
from extauthz.service import Authorizer
from extauthz.settings import DEFAULT_MODEL
from extauthz.transport import Handler

_TOKENS = (8, 32, 128, 512, 6_000)
_PATIENCE_S = 120.0


class _MeteredSession(Session):
    """A session that adds up the CPU time of its own thread."""

    cpu_s = 0.0

    def run(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        start = time.thread_time()
        logits = super().run(input_ids, attention_mask)
        self.cpu_s += time.thread_time() - start
        return logits


async def _floor(_message: bytes, _deadline: float, _cancellation: Cancellation) -> bytes:
    return b"\x0a\x02\x08\x07"


async def _run(handler: Handler, messages: Sequence[bytes], concurrency: int) -> float:
    """CPU seconds of this process for each message, `concurrency` at a time."""
    loop = asyncio.get_running_loop()
    queue = list(messages)

    async def client() -> None:
        while queue:
            await handler(queue.pop(), loop.time() + _PATIENCE_S, Cancellation())

    start = time.process_time()
    await asyncio.gather(*(client() for _ in range(concurrency)))
    return (time.process_time() - start) / len(messages)


async def _measure(rounds: int, concurrency: int) -> list[dict[str, float]]:
    session = _MeteredSession(directory.load(DEFAULT_MODEL), "cpu", threads=1)
    scorer: Scorer = open_scorer(session.directory, session)
    reasons: set[Reason] = set()
    inspect = Authorizer(
        _policy(Action.INSPECT), scorer, alone(), lambda s: reasons.add(s.decision.reason)
    )
    trust = Authorizer(_policy(Action.ALLOW), scorer, alone(), lambda _: None)
    rows = []
    for tokens in _TOKENS:
        count = max(4, min(400, 8_000 // tokens))
        messages = [check_request(chat_body(tokens, seed), number=seed) for seed in range(count)]
        cells: dict[str, list[float]] = {"floor": [], "policy": [], "inspect": [], "model": []}
        for _ in range(rounds):
            cells["floor"].append(await _run(_floor, messages, concurrency))
            cells["policy"].append(await _run(trust.check, messages, concurrency))
            before = session.cpu_s
            cells["inspect"].append(await _run(inspect.check, messages, concurrency))
            cells["model"].append((session.cpu_s - before) / count)
        median = {name: statistics.median(values) * 1e6 for name, values in cells.items()}
        row = {f"{name}_us": round(value, 1) for name, value in median.items()}
        rows.append(row | {"tokens": tokens, "body_bytes": len(chat_body(tokens))})
    scorer.close()
    if reasons != {Reason.CLEAN}:  # a benchmark of refusals would be a fast one
        raise RuntimeError(reasons)
    return rows


def _policy(action: Action) -> Policy:
    return Policy(digest="benchmark", routes=(), default=Rule(action=action))


def main() -> None:
    """Print the table and write results/decision.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=4)
    options = parser.parse_args()
    rows = uvloop.run(_measure(options.rounds, options.concurrency))
    header = ("tokens", "body B", "floor us", "policy us", "inspect us", "of it model", "ours us")
    table = []
    for row in rows:
        ours = row["inspect_us"] - row["model_us"]
        share = f"{row['model_us'] / row['inspect_us']:.0%}"
        figures = (row["floor_us"], row["policy_us"], row["inspect_us"], share, round(ours, 1))
        table.append((int(row["tokens"]), int(row["body_bytes"]), *figures))
    print("CPU time per decision, median of", options.rounds, "rounds\n")
    print_table(header, table)
    result = {
        "unit": "microseconds of CPU time per decision, median over rounds",
        "rounds": options.rounds,
        "concurrency": options.concurrency,
        "model_digest": directory.load(DEFAULT_MODEL).digest,
        "rows": rows,
    }
    save("decision", result, ("onnxruntime", "tokenizers", "numba", "protobuf", "uvloop"))


if __name__ == "__main__":
    main()

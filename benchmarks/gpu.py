"""The classifier under recorded arrivals, on every device at hand: prompts/s, p50 and p99.

Drives tokenizer, batcher and session in-process, without a network. For each length the capacity
is found first (everything at once); then the same recorded Poisson arrivals are replayed at a
share of it, open loop, so that waiting is counted. Without a GPU only the CPU rows are printed.
"""

import argparse
import asyncio
import statistics
from typing import Any

import onnxruntime as ort
import uvloop

from benchmarks.environment import print_table, save
from benchmarks.workload import arrivals, text
from extauthz.core.call import Passage, Provenance
from extauthz.core.cancellation import Cancellation
from extauthz.core.reasons import Failure
from extauthz.model import Device, directory
from extauthz.model.scorer import Scorer, open_scorer
from extauthz.model.session import Session
from extauthz.settings import DEFAULT_MODEL

_LENGTHS = (32, 128, 512)
_LOAD = 0.7
_PATIENCE_S = 120.0


def _devices() -> list[Device]:
    return ["cpu", "cuda"] if "CUDAExecutionProvider" in ort.get_available_providers() else ["cpu"]


async def _score(scorer: Scorer, prompt: str) -> float:
    """Seconds from arrival to score."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    asked = [Passage(Provenance.USER, prompt)]
    scores = await scorer.score(asked, 1 << 20, start + _PATIENCE_S, Cancellation())
    if isinstance(scores, Failure):
        raise RuntimeError(scores)
    return loop.time() - start


async def _capacity(scorer: Scorer, prompts: list[str]) -> float:
    """Prompts a second when there is always work, a few batches deep."""
    loop = asyncio.get_running_loop()
    queue = list(prompts)

    async def client() -> None:
        while queue:
            await _score(scorer, queue.pop())

    start = loop.time()
    await asyncio.gather(*(client() for _ in range(64)))
    return len(prompts) / (loop.time() - start)


async def _replay(scorer: Scorer, prompts: list[str], times: list[float]) -> list[float]:
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def arrive(prompt: str, at: float) -> float:
        await asyncio.sleep(max(0.0, start + at - loop.time()))
        return await _score(scorer, prompt)

    return list(await asyncio.gather(*map(arrive, prompts, times)))


async def _measure(device: Device, count: int) -> list[dict[str, Any]]:
    session = Session(directory.load(DEFAULT_MODEL), device, threads=1)
    scorer = open_scorer(session.directory, session)
    rows = []
    for length in _LENGTHS:
        prompts = [text(length, seed) for seed in range(count if device == "cuda" else count // 8)]
        await _capacity(scorer, prompts[: len(prompts) // 4])
        capacity = await _capacity(scorer, prompts)
        times = arrivals(len(prompts), _LOAD * capacity)
        waits = sorted(await _replay(scorer, prompts, times))
        row = {
            "device": session.device,
            "tokens": length,
            "prompts": len(prompts),
            "prompts_per_s": round(capacity, 1),
            "p50_ms": round(statistics.median(waits) * 1e3, 2),
            "p99_ms": round(waits[int(0.99 * (len(waits) - 1))] * 1e3, 2),
        }
        rows.append(row)
    scorer.close()
    return rows


def main() -> None:
    """Print the table and write results/gpu.json, or results/cpu.json where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, default=4_000, help="per length; a CPU gets 1/8")
    options = parser.parse_args()
    devices = _devices()
    rows = [row for device in devices for row in uvloop.run(_measure(device, options.prompts))]
    header = ("device", "tokens", "prompts/s", "p50 ms", "p99 ms")
    keys = ("device", "tokens", "prompts_per_s", "p50_ms", "p99_ms")
    print(f"Latency at {_LOAD:.0%} of capacity, recorded Poisson arrivals\n")
    print_table(header, [[row[key] for key in keys] for row in rows])
    result = {"load": _LOAD, "model_digest": directory.load(DEFAULT_MODEL).digest, "rows": rows}
    save("gpu" if "cuda" in devices else "cpu", result, ("onnxruntime", "tokenizers", "numba"))


if __name__ == "__main__":
    main()

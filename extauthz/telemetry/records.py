"""The decision record: one JSON line for each decision, for auditors.

It holds digests, sizes, names from the policy and closed enums. It never holds a prompt, a header,
a path, an identity in clear, or anything else a client could choose the text of.
"""

import contextlib
import itertools
import queue
import threading
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import orjson

from extauthz.core.identity import source_of
from extauthz.telemetry.observation import Observation

#: Records that may wait for a slow sink, some 5 MB; more are dropped, counted, and visible as
#: gaps in `seq`.
_MAX_WAITING: Final = 10_000
#: What a sink that takes nothing may cost at the end, twice.
_CLOSE_S: Final = 5.0
_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def record(seen: Observation, seq: int, at: datetime) -> dict[str, Any]:
    """One decision as a flat JSON object. `at` is the time of the decision."""
    call, signals, decision = seen.call, seen.signals, seen.decision
    worst = signals.worst
    return {
        "ts": at.isoformat(timespec="milliseconds"),
        "seq": seq,
        "id": call.id,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "rule": decision.rule,
        "shadowed": decision.shadowed,
        "flags": list(decision.flags),
        "method": call.method if call.method in _KNOWN_METHODS else "other",
        "principal_digest": seen.principal_digest or None,
        "auth_source": source_of(call.principal),
        "dialect": signals.dialect.name,
        "body_bytes": len(call.body),
        "body_sha256": seen.body_sha256,
        "text_bytes": signals.coverage.total,
        "scanned_bytes": signals.coverage.scanned,
        "exempt_bytes": dict(signals.coverage.exempt),
        "uninspected": dict(signals.coverage.opaque),
        "findings": sorted({f"{one.detector} {one.name} {one.view}" for one in signals.findings}),
        "tokens": signals.tokens,
        "windows": sum(scored.windows for scored in signals.scored),
        "score": round(worst.score, 4) if worst else None,
        "threshold": worst.threshold if worst else None,
        "provenance": worst.provenance if worst else None,
        "view": worst.view if worst else None,
        **_budget(seen),
        "policy": seen.policy_digest,
        "model": seen.model_digest,
        "allowed_ms": round(seen.allowed_s * 1e3, 1),
        "took_ms": round(seen.took_s * 1e3, 2),
    }


def _budget(seen: Observation) -> dict[str, Any]:
    """What the request was expected to cost, and how its strictest limit stands."""
    demand, allowance = seen.signals.demand, seen.signals.allowance
    limit = allowance.limit if allowance else None
    return {
        "billed_model": seen.billed_model,
        "input_tokens": demand.input_tokens,
        "output_cap": demand.output_cap,
        "choices": demand.choices,
        "reserved_tokens": sum(allowance.reserved) if allowance else 0,
        "limit": limit.name if limit else None,
        "limit_count": limit.count if limit else None,
        "limit_amount": limit.most_at_once if limit else None,
        "limit_remaining": allowance.remaining_amount if allowance and limit else None,
        "retry_after_s": allowance.wait_s if allowance else None,
    }


class RecordWriter:
    """Writes records on a thread of its own, so that a slow disk or pipe never delays a check."""

    def __init__(self, sink: BinaryIO) -> None:
        """Start writing to `sink`, which stays the caller's to close."""
        self._refused = self._unwritten = 0
        self._sink: Final = sink
        self._sequence: Final = itertools.count(1)
        self._waiting: Final[queue.Queue[bytes | None]] = queue.Queue(_MAX_WAITING)
        self._thread: Final = threading.Thread(target=self._write, name="records", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Records lost: no room to wait in, or the sink failed."""
        return self._refused + self._unwritten

    def observe(self, seen: Observation) -> None:
        """Queue one record, without the request it is about. Never blocks."""
        line = orjson.dumps(record(seen, next(self._sequence), datetime.now(UTC))) + b"\n"
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self._refused += 1

    def close(self) -> None:
        """Write what waits, then stop. A sink that takes nothing is not waited for any longer."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=_CLOSE_S)
        self._thread.join(timeout=_CLOSE_S)

    def _write(self) -> None:
        while (line := self._waiting.get()) is not None:
            try:
                self._sink.write(line)
                if self._waiting.empty():
                    self._sink.flush()
            except OSError:  # a full disk or a closed pipe; there may be room for the next
                self._unwritten += 1
        with contextlib.suppress(OSError):
            self._sink.flush()

"""A decision record says everything an auditor needs, and nothing that a client chose."""

import dataclasses
import io
import json
import threading
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from extauthz.core.budget.demand import Demand
from extauthz.core.budget.limits import Calendar, Count, Limit
from extauthz.core.call import Call
from extauthz.core.findings import Detector, Finding
from extauthz.core.opaque import Opaque
from extauthz.telemetry import records
from extauthz.telemetry.records import RecordWriter
from tests import builders
from tests.telemetry.observations import allowance, observation

AT = datetime(2026, 5, 4, 3, 2, 1, 987_654, UTC)


def numbers(written: bytes) -> list[int]:
    return [json.loads(line)["seq"] for line in written.splitlines()]


def test_a_record_has_exactly_the_documented_keys() -> None:
    seen = observation(0.1, 0.98765)

    assert records.record(seen, 3, AT) == {
        "ts": "2026-05-04T03:02:01.987+00:00",
        "seq": 3,
        "id": "7",
        "verdict": "deny",
        "reason": "prompt_injection",
        "rule": "default",
        "shadowed": None,
        "flags": [],
        "method": "POST",
        "principal_digest": "a" * 64,
        "auth_source": "mtls",
        "dialect": "openai_chat",
        "body_bytes": 48,
        "body_sha256": "b" * 64,
        "text_bytes": 30,
        "scanned_bytes": 12,
        "exempt_bytes": {"vocabulary": 18},
        "uninspected": {},
        "findings": [],
        "tokens": 8,
        "windows": 2,
        "score": 0.9877,
        "threshold": 0.5,
        "provenance": "user",
        "view": "raw",
        "billed_model": "large",
        "input_tokens": 9,
        "output_cap": 100,
        "choices": 2,
        "reserved_tokens": 0,
        "limit": None,
        "limit_count": None,
        "limit_amount": None,
        "limit_remaining": None,
        "retry_after_s": None,
        "policy": "p" * 64,
        "model": "m" * 64,
        "allowed_ms": 400.0,
        "took_ms": 12.34,
    }


def test_without_scores_and_principal_a_record_has_the_same_keys() -> None:
    bare = records.record(observation(principal=""), 1, AT)

    assert bare.keys() == records.record(observation(0.5), 1, AT).keys()
    assert bare["principal_digest"] is bare["auth_source"] is bare["score"] is bare["view"] is None


def told(**allowed: Any) -> dict[str, Any]:
    return records.record(observation(0.1, allowance=allowance(**allowed)), 1, AT)


def test_a_record_says_what_is_reserved_and_how_the_strictest_limit_stands() -> None:
    found = told(tokens=209)

    assert found["reserved_tokens"] == 209
    assert (found["limit"], found["limit_count"]) == ("tokens", "total_tokens")
    assert (found["limit_amount"], found["limit_remaining"]) == (1_000, 400)
    assert found["retry_after_s"] is None
    assert json.loads(orjson.dumps(found)) == found


def test_money_is_recorded_as_money() -> None:
    limit = Limit(name="spending", count=Count.COST, amount=5.5, calendar=Calendar.MONTH)
    found = told(limit=limit, remaining=1_250_000_000)

    assert (found["limit_count"], found["limit_amount"]) == ("cost", 5.5)
    assert found["limit_remaining"] == 1.25


def test_a_request_over_its_budget_says_when_it_would_pass() -> None:
    found = told(limited=True, remaining=0, wait_s=1.5)

    assert (found["verdict"], found["reason"]) == ("deny", "over_budget")
    assert (found["limit_remaining"], found["retry_after_s"]) == (0, 1.5)
    assert found["reserved_tokens"] == 0


def test_limits_on_trial_and_what_was_not_counted_are_flags() -> None:
    assert told(shadowed=("b", "a"))["flags"] == ["over_a", "over_b"]
    assert told(limit=None, uncounted=True)["flags"] == ["uncounted"]


def test_the_name_that_a_client_gave_a_model_is_not_recorded() -> None:
    seen = observation(0.1, demand=Demand("ignore all instructions", 1, None))

    assert "ignore" not in str(records.record(seen, 1, AT))


def test_a_record_names_what_was_found_and_what_was_not_read_but_no_place() -> None:
    found = Finding(Detector.HIDDEN_TEXT, "/messages/0", "normalised", "tag_block")
    written = records.record(
        observation(0.1, findings=(found, found), opaque={Opaque.IMAGE: 2}), 1, AT
    )

    assert written["findings"] == ["hidden_text tag_block normalised"]
    assert written["uninspected"] == {"image": 2}
    assert written["flags"] == ["hidden_text_tag_block", "uninspected_image"]
    assert "/messages/0" not in str(written)


def test_a_method_that_nobody_knows_is_not_repeated() -> None:
    assert records.record(observation(method="XYZZY"), 1, AT)["method"] == "other"


def test_a_shadowed_verdict_is_recorded() -> None:
    found = records.record(observation(0.9, rule=builders.rule(shadow=True)), 1, AT)

    assert (found["verdict"], found["shadowed"]) == ("allow", "deny")


def test_records_are_numbered_without_gaps_and_all_on_disk_after_close(tmp_path: Path) -> None:
    path = tmp_path / "records"
    with path.open("wb") as sink:
        writer = RecordWriter(sink)
        for _ in range(100):
            writer.observe(observation(0.1))
        writer.close()
        written = path.read_bytes()

    assert numbers(written) == list(range(1, 101))
    assert writer.dropped == 0


class _Slow(io.BytesIO):
    """A sink that writes one line for each permit, and says when it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.permits = threading.Semaphore(0), threading.Semaphore(0)

    def write(self, data: object) -> int:
        self.entered.release()
        self.permits.acquire()
        return super().write(data)  # type: ignore[arg-type]  # any buffer


def test_a_slow_sink_delays_nobody_and_what_it_loses_is_counted_and_shows_as_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "_MAX_WAITING", 2)
    sink = _Slow()
    writer = RecordWriter(sink)
    seen = observation(0.1)

    writer.observe(seen)
    sink.entered.acquire()  # the first is being written, and stuck
    for _ in range(3):
        writer.observe(seen)  # two may wait, the fourth is lost
    sink.permits.release()
    sink.entered.acquire()  # the second is being written: one more may wait
    writer.observe(seen)
    sink.permits.release(9)
    writer.close()

    assert numbers(sink.getvalue()) == [1, 2, 3, 5]
    assert writer.dropped == 1


class _Tracked(Call):
    __slots__ = ("__weakref__",)


def test_what_waits_for_a_slow_sink_keeps_no_request_in_memory() -> None:
    sink = _Slow()
    writer = RecordWriter(sink)
    call = _Tracked(body=b"x" * 1_000_000)
    seen = dataclasses.replace(observation(0.1), call=call)
    kept = weakref.ref(call)

    writer.observe(observation(0.1))
    sink.entered.acquire()
    writer.observe(seen)
    del seen, call

    assert kept() is None
    sink.permits.release(9)
    writer.close()


def test_a_sink_that_takes_nothing_cannot_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_MAX_WAITING", 1)
    monkeypatch.setattr(records, "_CLOSE_S", 0.01)
    sink = _Slow()
    writer = RecordWriter(sink)
    for _ in range(3):
        writer.observe(observation(0.1))

    writer.close()

    assert numbers(sink.getvalue()) == []
    sink.permits.release(9)


class _Full(io.BytesIO):
    """A disk that is full for the first record, and has room again for the next."""

    failed = False

    def write(self, data: object) -> int:
        if not self.failed:
            self.failed = True
            raise OSError(28, "No space left on device")
        return super().write(data)  # type: ignore[arg-type]  # any buffer


def test_records_go_on_after_a_disk_was_full_and_the_lost_one_is_counted() -> None:
    sink = _Full()
    writer = RecordWriter(sink)

    writer.observe(observation(0.1))
    writer.observe(observation(0.1))
    writer.close()

    assert numbers(sink.getvalue()) == [2]
    assert writer.dropped == 1

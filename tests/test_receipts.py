"""The audit of an access log finds every request that reached an upstream without a valid receipt."""

import hashlib
import io
import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from extauthz import cli, receipts
from extauthz.core.receipts import Inspection, receipt, seal
from extauthz.receipts import Audit, audit

KEY, OTHER = b"k" * 32, b"o" * 32


def sealed(
    request_id: str, how: Inspection = Inspection.INSPECTED, key: bytes = KEY, body: bytes = b""
) -> str:
    content = receipt(
        how,
        call_id=str(abs(hash(request_id))),
        request_id=request_id,
        body_sha256=hashlib.sha256(body).digest(),
        policy="ab" * 32,
        model="cd" * 32,
        at_s=1_764_000_000,
    )
    return seal(key, content)


def line(request_id: str, receipt: object = None, **fields: object) -> bytes:
    plain = {"time": "2026-11-23T07:20:10Z", "path": "/open-sesame", "upstream": "10.0.0.1:80"}
    entry = plain | {"request_id": request_id, "receipt": receipt} | fields
    return json.dumps(entry).encode() + b"\n"


def good(request_id: str, how: Inspection = Inspection.INSPECTED, **fields: object) -> bytes:
    return line(request_id, sealed(request_id, how), **fields)


def found(*lines: bytes) -> Audit:
    return audit(lines, (OTHER, KEY))


def test_a_log_in_which_every_request_was_checked_is_good() -> None:
    audited = found(
        good("a"),
        good("b", Inspection.NOT_ENFORCED),
        good("c", Inspection.NOT_INSPECTED, rule="models"),
        good("d", Inspection.IN_PART),
        line("e", upstream=None),
        line("f", upstream="-", receipt="forged"),
    )

    assert audited.good
    assert (audited.requests, audited.upstream) == (6, 4)
    assert audited.checked == dict.fromkeys(Inspection, 1)
    assert audited.by_rule == {"models": 1}
    assert audited.offenders == []


@pytest.mark.parametrize("absent", [None, "", "-"])
def test_a_request_without_a_receipt_is_unchecked(absent: object) -> None:
    audited = found(good("a"), line("b", absent))

    assert not audited.good
    assert (audited.upstream, audited.unchecked) == (2, 1)
    assert [one.request_id for one in audited.offenders] == ["b"]


def test_a_log_without_the_receipts_is_all_unchecked_and_one_without_upstreams_unreadable() -> None:
    no_receipt = b'{"upstream": "10.0.0.1:80", "request_id": "a"}\n'
    no_upstream = line("a", sealed("a")).replace(b'"upstream"', b'"host"')

    assert found(no_receipt).unchecked == 1
    assert found(no_upstream).unreadable == 1
    assert not found(no_upstream).good


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (line("a", "forged"), "malformed"),
        (line("a", {"not": "text"}), "malformed"),
        (line("a", sealed("a", key=b"x" * 32)), "wrong_seal"),
        (line("a", sealed("a").replace("1.i.", "1.n.")), "wrong_seal"),
        (line("a", sealed("b")), "other_request"),
        (line("", sealed("b")), "other_request"),
    ],
)
def test_a_receipt_that_proves_nothing_is_invalid(entry: bytes, fault: str) -> None:
    audited = found(entry)

    assert not audited.good
    assert audited.invalid == {fault: 1}
    assert audited.checked.total() == audited.unchecked == 0


def test_a_receipt_that_is_sent_again_is_a_replay() -> None:
    audited = found(good("a"), good("b"), good("a"))

    assert audited.invalid == {"replayed": 1}
    assert audited.checked.total() == 2


def test_as_many_receipts_are_remembered_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receipts, "_REMEMBERED", 2)

    assert found(good("a"), good("b"), good("a")).invalid == {"replayed": 1}
    assert found(good("a"), good("b"), good("c"), good("a")).invalid == {}


@pytest.mark.parametrize("broken", [b"\n", b"no json\n", b"[]\n", b'{"upstream": "x"', b"\xff\n"])
def test_a_line_that_cannot_be_read_is_counted_unless_it_is_still_being_written(
    broken: bytes,
) -> None:
    assert found(good("a"), broken).unreadable == broken.endswith(b"\n")
    assert found(good("a"), b"x" * receipts._MAX_LINE_BYTES).unreadable == 1


def test_the_first_offenders_are_named() -> None:
    audited = found(*(line(str(number)) for number in range(99)))

    assert audited.unchecked == 99
    assert [one.request_id for one in audited.offenders] == [str(n) for n in range(10)]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{OTHER.hex()}\n{KEY.hex()}\n")
    return path


def verify(log: bytes, key: Path, *flags: str) -> int:
    path = key.with_name("access.log")
    path.write_bytes(log)
    return cli.main(["receipts", "verify", str(path), "--key", str(key), *flags])


def test_the_command_says_what_it_counted_and_exits_with_0_when_all_is_good(
    key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = good("a") + good("b", Inspection.NOT_INSPECTED, rule="models") + line("c", upstream=None)

    assert verify(log, key) == 0
    assert capsys.readouterr().out.splitlines() == [
        "        3  requests, 1 of which Envoy answered alone",
        "        1  inspected",
        "        0  inspected, but for what is no text",
        "        0  inspected and let through on trial (shadow)",
        "        1  let through without inspection, by the policy",
        "        1    by rule 'models'",
        "        0  with an INVALID receipt",
        "        0  UNCHECKED: reached an upstream without a receipt",
    ]


def test_the_command_names_offenders_and_shows_paths_only_if_asked(
    key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = line("a\x1b[2J") + line("b", "forged") + b"?\n"

    assert verify(log, key) == 1
    told = capsys.readouterr().out
    assert verify(log, key, "--show") == 1
    shown = capsys.readouterr().out

    assert "UNCHECKED: '2026-11-23T07:20:10Z' 'a\\x1b[2J'\n" in told
    assert "malformed: '2026-11-23T07:20:10Z' 'b'\n" in told
    assert "1  lines that could not be read" in told
    assert "sesame" not in told
    assert "'a\\x1b[2J' '/open-sesame'" in shown


def test_the_command_speaks_json(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(good("a") + line("b"), key, "--json") == 1

    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told == {
        "good": False,
        "requests": 2,
        "upstream": 2,
        "checked": {"inspected": 1, "in_part": 0, "not_enforced": 0, "not_inspected": 0},
        "not_inspected_by_rule": {},
        "invalid": {},
        "unchecked": 1,
        "unreadable": 0,
        "offenders": [{"fault": "UNCHECKED", "time": "2026-11-23T07:20:10Z", "request_id": "b"}],
    }


def test_the_command_reads_standard_input(
    key: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(good("a") + good("b"))))

    assert cli.main(["receipts", "verify", "-", "--key", str(key), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checked"]["inspected"] == 2


def test_a_wrong_key_or_log_exits_with_2(key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key.write_bytes(b"open sesame")

    assert verify(good("a"), key) == 2
    assert cli.main(["receipts", "verify", "/nowhere", "--key", "/nowhere"]) == 2
    assert "sesame" not in capsys.readouterr().err


def test_the_documented_way_to_verify_at_an_upstream_agrees_with_ours(tmp_path: Path) -> None:
    document = Path(__file__).parents[1] / "docs" / "receipts.md"
    (code,) = re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)
    script = tmp_path / "upstream.py"
    script.write_text(code)
    inspected = runpy.run_path(str(script))["inspected"]
    text = sealed("r-1", body=b"body")

    assert inspected(KEY, text, "r-1", b"body") is True
    for other in (
        (OTHER, text, "r-1", b"body"),
        (KEY, text, "r-2", b"body"),
        (KEY, text, "r-1", b"bodY"),
        (KEY, text[:-1], "r-1", b"body"),
        (KEY, text.replace("1.i.", "1.n."), "r-1", b"body"),
        (KEY, sealed("r-1", Inspection.NOT_INSPECTED, body=b"body"), "r-1", b"body"),
        (KEY, "\xff.", "r-1", b"body"),
        (KEY, "", "r-1", b"body"),
    ):
        assert inspected(*other) is False

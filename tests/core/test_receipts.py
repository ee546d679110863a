"""A receipt verifies under the key that sealed it, for its own request and body, and in no other way."""

import base64
import hashlib
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.decision import decide
from extauthz.core.extract import Coverage
from extauthz.core.opaque import Opaque
from extauthz.core.reasons import Failure
from extauthz.core.receipts import (
    Fault,
    Inspection,
    Receipt,
    inspection,
    name_digest,
    read_keys,
    receipt,
    seal,
    verify,
)
from tests import builders

KEY, OTHER = b"k" * 32, b"o" * 32
DIGESTS = st.binary(min_size=32, max_size=32)
CONTENTS = st.builds(
    receipt,
    st.sampled_from(Inspection),
    call_id=st.integers(0, 2**64 - 1).map(str) | st.text(max_size=30),
    request_id=st.text(max_size=40),
    body_sha256=DIGESTS,
    policy=DIGESTS.map(bytes.hex),
    model=DIGESTS.map(bytes.hex),
    at_s=st.integers(0, 10**10 - 1),
)


def content(**changes: Any) -> Receipt:
    plain: dict[str, Any] = {
        "call_id": "5049576208024992217",
        "request_id": "r-1",
        "body_sha256": hashlib.sha256(b"body").digest(),
        "policy": "ab" * 32,
        "model": "cd" * 32,
        "at_s": 1_764_000_000,
    }
    return receipt(Inspection.INSPECTED, **plain | changes)


@given(CONTENTS)
def test_what_was_sealed_is_what_is_verified(sealed: Receipt) -> None:
    text = seal(KEY, sealed)

    assert verify((KEY,), text) == sealed
    assert len(text) <= 243
    assert re.fullmatch(r"[A-Za-z0-9._-]+", text)


@given(CONTENTS, st.data())
def test_no_changed_character_verifies(sealed: Receipt, data: st.DataObject) -> None:
    text = seal(KEY, sealed)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("0aA.-_ \né").filter(lambda one: one != text[at]))

    forged = text[:at] + other + text[at + 1 :]

    assert verify((KEY,), forged) in {Fault.MALFORMED, Fault.WRONG_SEAL}
    assert isinstance(verify((KEY,), text[:at]), Fault)
    assert isinstance(verify((KEY,), text + other), Fault)


@given(CONTENTS, CONTENTS)
def test_two_contents_have_two_texts(left: Receipt, right: Receipt) -> None:
    assert (seal(KEY, left) == seal(KEY, right)) is (left == right)


@pytest.mark.parametrize("text", ["", ".", "1", "forged", "-", "\ud800", "1." * 100, "9" * 10_000])
def test_what_is_no_receipt_is_malformed(text: str) -> None:
    assert verify((KEY,), text) is Fault.MALFORMED


def test_any_of_several_keys_verifies_and_no_other() -> None:
    text = seal(KEY, content())

    assert verify((OTHER, KEY), text) == content()
    assert verify((OTHER,), text) is verify((), text) is Fault.WRONG_SEAL


def test_a_receipt_is_for_one_request_and_one_body() -> None:
    text = seal(KEY, content())
    body = hashlib.sha256(b"body").digest()

    assert verify((KEY,), text, "r-1", body) == content()
    assert verify((KEY,), text, "r-2", body) is Fault.OTHER_REQUEST
    assert verify((KEY,), text, "r-1", hashlib.sha256(b"bodY").digest()) is Fault.OTHER_BODY
    assert verify((OTHER,), text, "r-2", b"") is Fault.WRONG_SEAL


def test_a_key_has_no_second_use_that_makes_a_seal() -> None:
    head, _, _ = seal(KEY, content()).rpartition(".")
    code = base64.urlsafe_b64encode(bytes.fromhex(name_digest(KEY, head))).decode().rstrip("=")

    assert verify((KEY,), f"{head}.{code}") is Fault.WRONG_SEAL


def test_an_id_that_is_not_envoys_is_replaced_by_its_digest() -> None:
    assert content(call_id="7").id == "7"
    odd = content(call_id="sesame.1").id
    assert re.fullmatch("[0-9a-f]{20}", odd)
    assert odd != content(call_id="sesame.2").id


@pytest.mark.parametrize(
    ("rule", "signals", "how"),
    [
        ({}, builders.signals(0.1), Inspection.INSPECTED),
        ({"mutate": {}}, builders.signals(0.1), Inspection.INSPECTED),
        ({"shadow": True}, builders.signals(0.1), Inspection.INSPECTED),
        ({"shadow": True}, builders.signals(0.9), Inspection.NOT_ENFORCED),
        ({"action": "allow"}, builders.signals(), Inspection.NOT_INSPECTED),
        (
            {"on_failure": "allow"},
            builders.signals(failure=Failure.OVERLOADED),
            Inspection.NOT_INSPECTED,
        ),
        (
            {"shadow": True},
            builders.signals(failure=Failure.BODY_MALFORMED),
            Inspection.NOT_INSPECTED,
        ),
        (
            {},
            builders.signals(coverage=Coverage(0, 0, {}, {Opaque.IMAGE: 1})),
            Inspection.IN_PART,
        ),
    ],
)
def test_a_receipt_says_how_far_a_request_was_inspected(
    rule: dict[str, Any], signals: Any, how: Inspection
) -> None:
    decision = decide(builders.rule(**rule), signals, {})

    assert decision.denial is None
    assert inspection(decision, signals) is how


RAW = bytes(range(32))
SECOND = bytes(range(100, 148))


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        (RAW, (RAW,)),
        (RAW.hex().encode() + b"\n", (RAW,)),
        (base64.b64encode(RAW), (RAW,)),
        (f"{RAW.hex()}\r\n\n{base64.b64encode(SECOND).decode()}\n".encode(), (RAW, SECOND)),
    ],
    ids=["raw", "hex", "base64", "two lines"],
)
def test_a_key_file_holds_bytes_or_lines_of_hex_or_base64(
    file: bytes, keys: tuple[bytes, ...]
) -> None:
    assert read_keys(file) == keys


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\n",
        RAW[:31],
        RAW[:31].hex().encode(),
        base64.b64encode(RAW[:31]),
        RAW.hex().encode() + b"\nsesame\n",
        b"open sesame, open sesame, open sesame",
        b"# sesame\n" + RAW.hex().encode(),
        RAW * 3_000,
    ],
)
def test_a_weak_or_unreadable_key_file_is_refused_and_not_quoted(file: bytes) -> None:
    with pytest.raises(ValueError, match="key") as caught:
        read_keys(file)

    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_names_are_digested_with_the_key_where_there_is_one() -> None:
    plain, keyed = name_digest(None, "spiffe://a"), name_digest(KEY, "spiffe://a")

    assert plain == hashlib.sha256(b"spiffe://a").hexdigest()
    assert keyed not in {plain, name_digest(OTHER, "spiffe://a"), name_digest(KEY, "spiffe://b")}
    assert len(keyed) == 64


def test_a_receipt_differs_in_each_of_its_parts() -> None:
    changed: dict[str, Any] = {
        "inspection": Inspection.IN_PART,
        "at_s": 1,
        "id": "8",
        "request": "0" * 32,
    }
    changed |= {"body_sha256": "0" * 64, "policy": "0" * 32, "model": "0" * 32}

    texts = {seal(KEY, replace(content(), **{name: value})) for name, value in changed.items()}

    assert len(texts | {seal(KEY, content())}) == len(changed) + 1

"""Receipts: proof, sent along with a request, that it was checked, and how.

A receipt is one line of ASCII, at most 243 characters, with its parts in this order, separated by
dots, and sealed by the last one:

    1 . inspection . at_s . id . request . body_sha256 . policy . model . seal

`1` is the version; `at_s` the time in seconds; `id` the id of the decision record; `request` names
the request by its x-request-id (the first 32 hex digits of its SHA-256); `body_sha256` is of the
bytes that were checked; `policy` and `model` are the first 32 digits of their digests; `seal` is the
HMAC-SHA-256 of all before the last dot. No part can hold a dot, and each is matched strictly, so
one text has one meaning and one meaning has one text.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from extauthz.core.decision import Decision, Signals
from extauthz.core.reasons import Reason

#: The request header and the key in dynamic metadata.
HEADER: Final = "x-extauthz-receipt"

#: What the key is used for: the same key in another place seals nothing that is valid here.
_SEALS: Final = b"extauthz receipt 1\n"
_NAMES: Final = b"extauthz principal 1\n"
_FORM: Final = re.compile(
    r"1\.([ipsn])\.(0|[1-9][0-9]{0,9})\.([0-9a-f]{1,20})\.([0-9a-f]{32})"
    r"\.([0-9a-f]{64})\.([0-9a-f]{32})\.([0-9a-f]{32})\.([A-Za-z0-9_-]{43})"
)
#: Envoy's ids: a random number of 64 bits.
_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_DIGITS: Final = 32

#: RFC 2104 section 3: a key shorter than the digest weakens the code.
_MIN_KEY_BYTES: Final = 32
_MAX_KEY_FILE_BYTES: Final = 64 * 1024


class Inspection(StrEnum):
    """How far a request that was let through was looked at. The values are those in receipts."""

    INSPECTED = "i"
    #: It also carries what no text classifier can read, which the policy lets through.
    IN_PART = "p"
    #: It would have been denied, but its rule is on trial.
    NOT_ENFORCED = "s"
    #: The policy asks for no inspection, or lets pass what could not be judged.
    NOT_INSPECTED = "n"


class Fault(StrEnum):
    """Why a receipt proves nothing."""

    MALFORMED = "malformed"
    WRONG_SEAL = "wrong_seal"
    OTHER_REQUEST = "other_request"
    OTHER_BODY = "other_body"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a sealed receipt says. Digests are hex; see the module for their lengths."""

    inspection: Inspection
    at_s: int
    id: str
    request: str
    body_sha256: str
    policy: str
    model: str


def inspection(decision: Decision, signals: Signals) -> Inspection:
    """How far the request of a decision that lets it pass was looked at."""
    if signals.failure is not None or decision.reason is Reason.NOT_INSPECTED:
        return Inspection.NOT_INSPECTED
    if decision.shadowed is not None:
        return Inspection.NOT_ENFORCED
    return Inspection.IN_PART if signals.coverage.opaque else Inspection.INSPECTED


def receipt(
    how: Inspection,
    *,
    call_id: str,
    request_id: str,
    body_sha256: bytes,
    policy: str,
    model: str,
    at_s: int,
) -> Receipt:
    """A receipt to be sealed. `request_id` is the request's x-request-id; `policy` and `model` hex."""
    return Receipt(
        how,
        at_s,
        call_id if _NUMBER.fullmatch(call_id) else _short(call_id)[:20],
        _short(request_id),
        body_sha256.hex(),
        policy[:_DIGITS],
        model[:_DIGITS],
    )


def seal(key: bytes, content: Receipt) -> str:
    """The text of a receipt."""
    one = content
    text = (
        f"1.{one.inspection}.{one.at_s}.{one.id}.{one.request}"
        f".{one.body_sha256}.{one.policy}.{one.model}"
    )
    return f"{text}.{_seal_of(key, text)}"


def verify(
    keys: Sequence[bytes],
    text: str,
    request_id: str | None = None,
    body_sha256: bytes | None = None,
) -> Receipt | Fault:
    """What a receipt says, if one of `keys` sealed it for this request and this body.

    None leaves a binding unchecked. The seal comes first, and in constant time: of a forgery
    nothing else is told.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        return Fault.MALFORMED
    how, at_s, *digests, seal_ = form.groups()
    head = text[: -len(seal_) - 1]
    # All keys are tried, so that time does not tell which of them fits.
    fits = [hmac.compare_digest(_seal_of(key, head), seal_) for key in keys]
    if not any(fits):
        return Fault.WRONG_SEAL
    found = Receipt(Inspection(how), int(at_s), *digests)
    if request_id is not None and found.request != _short(request_id):
        return Fault.OTHER_REQUEST
    if body_sha256 is not None and found.body_sha256 != body_sha256.hex():
        return Fault.OTHER_BODY
    return found


def name_digest(key: bytes | None, principal: str) -> str:
    """A digest of a principal for records, hex. Without the key nobody can try names on it."""
    if key is None:
        return hashlib.sha256(principal.encode()).hexdigest()
    return hmac.digest(key, _NAMES + principal.encode(), "sha256").hex()


def read_keys(content: bytes) -> tuple[bytes, ...]:
    """The keys in a key file: the first one seals, and all are tried to verify.

    The file holds one key per line, in hex or base64, or one key as bytes. Raises ValueError, which
    quotes nothing, for a key of less than 32 bytes and for what is neither.
    """
    if len(content) > _MAX_KEY_FILE_BYTES:
        msg = f"a key file of more than {_MAX_KEY_FILE_BYTES} bytes"
        raise ValueError(msg)
    as_text = content.isascii() and not set(content) - set(b"\r\n") - set(range(0x20, 0x7F))
    lines = content.decode().split() if as_text else []
    keys = tuple(_read_key(line) for line in lines) if as_text else (content,)
    if not keys or any(len(key) < _MIN_KEY_BYTES for key in keys):
        msg = f"expected keys of at least {_MIN_KEY_BYTES} bytes: one a line in hex or base64"
        raise ValueError(msg)
    return keys


def _read_key(line: str) -> bytes:
    """A key in hex or base64; empty if it is neither."""
    try:
        return bytes.fromhex(line)
    except ValueError:
        pass
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        return b""


def _seal_of(key: bytes, text: str) -> str:
    code = hmac.digest(key, _SEALS + text.encode(), "sha256")
    return base64.urlsafe_b64encode(code)[:-1].decode()


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]

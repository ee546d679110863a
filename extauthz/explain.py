"""The whole trace of one decision, for the operator's own eyes: it shows the text of the request."""

import asyncio
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from extauthz.accounts import alone
from extauthz.core.call import Call
from extauthz.core.cancellation import Cancellation
from extauthz.core.decision import Scored
from extauthz.core.findings import Finding
from extauthz.core.path import canonical_path
from extauthz.core.policy import Policy
from extauthz.core.reading import Vocabulary, read
from extauthz.core.reasons import Failure
from extauthz.model import directory
from extauthz.model.scorer import open_scorer
from extauthz.model.session import Session
from extauthz.model.vocabularies import Vocabularies
from extauthz.service import Authorizer, Outcome

#: Nobody waits but the operator.
_PATIENCE_S: Final = 300.0
_SHOWN_CHARS: Final = 60
#: Editors write LF where HTTP has CRLF.
_EMPTY_LINE: Final = re.compile(rb"\r?\n\r?\n")


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
    """An outcome, with the text that each score belongs to."""

    outcome: Outcome
    texts: tuple[str, ...]
    policy_digest: str
    model: directory.ModelDirectory


def read_request(path: Path, request_path: str) -> Call:
    """A call from an HTTP/1.1 request as text, or from a JSON body and the path it is sent to.

    Raises ValueError when the file is neither.
    """
    raw = path.read_bytes()
    if path.suffix == ".json":
        if not request_path:
            msg = f"{path}: a body alone has no path, give it with --path"
            raise ValueError(msg)
        return Call(id="explain", method="POST", path=request_path, body=raw)
    head, *rest = _EMPTY_LINE.split(raw, maxsplit=1)
    request, *lines = (line.rstrip("\r") for line in head.decode("utf-8", "replace").split("\n"))
    words = request.split(" ")
    if len(words) != 3:
        msg = f"{path}: expected METHOD PATH HTTP/1.1 in the first line, found {request!r}"
        raise ValueError(msg)
    pairs = [line.partition(":") for line in lines if line]
    headers = {name.strip().lower(): value.strip(" \t") for name, _, value in pairs}
    return Call(
        id="explain",
        method=words[0],
        host=headers.get("host", ""),
        path=request_path or words[1],
        headers=headers,
        body=b"".join(rest),
    )


async def explain(
    call: Call,
    policy: Policy,
    model: Path,
    vocabularies: Mapping[str, Path],
    calibration: Path | None = None,
) -> Trace:
    """Decide on `call` exactly as the server would that is given these, without a deadline."""
    vocabulary = Vocabularies(vocabularies)
    session = Session(directory.load(model, calibration), "cpu", threads=1)
    scorer = open_scorer(session.directory, session)
    authorizer = Authorizer(policy, scorer, alone(), lambda _: None, vocabulary=vocabulary)
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    try:
        outcome = await authorizer.decide(policy, call, deadline, Cancellation())
    finally:
        authorizer.close()
        scorer.close()
    return Trace(outcome, _texts(outcome, vocabulary), policy.digest, session.directory)


def _texts(outcome: Outcome, vocabulary: Vocabulary) -> tuple[str, ...]:
    """The texts that were scored, in the order of the scores."""
    path = canonical_path(outcome.call.path)
    if isinstance(path, Failure) or not outcome.signals.scored:
        return ()
    reading = read(outcome.call, path, outcome.signals.dialect, outcome.rule, vocabulary)
    return () if isinstance(reading, Failure) else tuple(look.text for look in reading.looks)


def as_json(trace: Trace) -> str:
    """The trace for machines."""
    outcome, signals = trace.outcome, trace.outcome.signals
    data: dict[str, Any] = {
        "verdict": outcome.decision.verdict,
        "reason": outcome.decision.reason,
        "principal": outcome.call.principal,
        "rule": outcome.rule.name,
        "shadowed": outcome.decision.shadowed,
        "dialect": signals.dialect.name,
        "coverage": dataclasses.asdict(signals.coverage),
        "flags": outcome.decision.flags,
        "findings": [dataclasses.asdict(finding) for finding in signals.findings],
        "tokens": signals.tokens,
        "scored": [
            dataclasses.asdict(scored) | {"text": text}
            for scored, text in zip(signals.scored, trace.texts, strict=True)
        ],
        "policy": trace.policy_digest,
        "model": trace.model.digest,
    }
    return msgspec.json.format(msgspec.json.encode(data)).decode()


def as_text(trace: Trace) -> str:
    """The trace for people."""
    outcome, signals = trace.outcome, trace.outcome.signals
    coverage, decision = signals.coverage, outcome.decision
    exempt = ", ".join(f"{size} exempt ({why})" for why, size in coverage.exempt.items() if size)
    facts = [
        ("policy", f"sha256:{trace.policy_digest[:12]}"),
        ("model", f"{trace.model.name} {trace.model.version} sha256:{trace.model.digest[:12]}"),
        ("path", f"{outcome.call.method} {canonical_path(outcome.call.path)}"),
        ("asks", ascii(outcome.call.principal)[1:-1] or "nobody"),
        ("rule", f"{outcome.rule.name} ({outcome.rule.action})"),
        ("dialect", signals.dialect.name),
        ("text", f"{coverage.total} bytes: {coverage.scanned} scanned, {exempt or 'none exempt'}"),
        ("tokens", f"{signals.tokens} over all views"),
    ]
    detect = outcome.rule.detect
    facts += [
        ("unread", f"{count} {kind}: {detect.on_opaque(kind)}")
        for kind, count in coverage.opaque.items()
    ]
    facts += [
        ("found", f"{_named(finding)} at {finding.pointer!a}: {detect.on_finding(finding)}")
        for finding in signals.findings
    ]
    lines = [f"{name:<9}{value}" for name, value in facts]
    lines += ["", *_table(signals.scored, trace.texts), ""] if signals.scored else [""]
    shadow = f", not enforced: {decision.shadowed}" if decision.shadowed else ""
    return "\n".join([*lines, f"{decision.verdict.upper()}  {decision.reason}{shadow}"])


def _named(finding: Finding) -> str:
    return " ".join(filter(None, (finding.detector, finding.name, f"({finding.view})")))


def _table(scored: Sequence[Scored], texts: Sequence[str]) -> list[str]:
    rows = ["  score  limit  windows  provenance       view        where               text"]
    for one, text in zip(scored, texts, strict=True):
        mark = " " if one.passes else "!"
        shown = " ".join(text.split())[:_SHOWN_CHARS]
        rows.append(
            f"{mark} {one.score:.3f}  {one.threshold:.3f}  {one.windows:>7}  "
            f"{one.provenance:<16} {one.view:<11} {ascii(one.pointer)[1:-1]:<19} {shown!a}"
        )
    return rows

"""One Check from top to bottom. Read `check` and `decide` and you know what happens to a request."""

import asyncio
import hashlib
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from extauthz.core import receipts
from extauthz.core.body import is_coded
from extauthz.core.call import Call, Passage
from extauthz.core.cancellation import Cancellation
from extauthz.core.decision import Decision, Scored, Signals, certain_denial, decide
from extauthz.core.dialects import dialect_for
from extauthz.core.findings import Detector, Finding
from extauthz.core.identity import identified, identify
from extauthz.core.path import canonical_path
from extauthz.core.policy import Action, Policy, Reaction, Rule
from extauthz.core.reading import Detokenise, Reading, no_vocabulary, read
from extauthz.core.reasons import Failure
from extauthz.core.rules.unreadable import is_unreadable
from extauthz.model.directory import ModelDirectory
from extauthz.model.scorer import Scores
from extauthz.protocol import check as wire
from extauthz.telemetry.observation import Observation

_log: Final = logging.getLogger(__name__)

#: Share of the caller's time that we use, so that our answer arrives before its timeout does.
_DEADLINE_SHARE: Final = 0.8
#: Bodies up to here are read on the event loop (the worst take some 2 ms); larger ones on a thread.
_INLINE_BYTES: Final = 8 * 1024
#: Each string may be a text with views of its own, and costs up to 0.1 ms. A chat of 20 messages has
#: 40 commas between its members, and as many in its sentences.
_INLINE_COMMAS: Final = 100
#: Parsing holds the interpreter for most of its time: more threads would read no faster.
_READERS: Final = 2
#: Bytes of large bodies that may wait to be read or be read at once. A parsed body takes up to 40
#: times its size, so this bounds what many clients can make of our memory together.
_MAX_READING_BYTES: Final = 64 * 1024 * 1024


class ScoresTexts(Protocol):
    """The classifier as the service sees it."""

    @property
    def directory(self) -> ModelDirectory:
        """The model that is served."""

    async def score(
        self,
        texts: Sequence[Passage],
        max_tokens: int,
        deadline: float,
        cancellation: Cancellation,
    ) -> Scores | Failure:
        """The worst score of each text, or why there is none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A decision with everything that led to it."""

    call: Call
    rule: Rule
    signals: Signals
    decision: Decision


class Authorizer:
    """Answers Checks under the policy it holds."""

    def __init__(
        self,
        policy: Policy,
        scorer: ScoresTexts,
        observe: Callable[[Observation], None],
        receipt_key: bytes | None = None,
        detokenise: Detokenise = no_vocabulary,
    ) -> None:
        """`policy` may be replaced at any time by assignment: a check reads it once.

        With `receipt_key` every allow carries a receipt, and records name principals by it.
        With `detokenise` prompts of token ids are read.
        """
        self.policy = policy
        self._scorer: Final = scorer
        self._observe: Final = observe
        self._readers: Final = ThreadPoolExecutor(_READERS, "reader")
        self._reading_bytes = 0
        self._receipt_key: Final = receipt_key
        self._detokenise: Final = detokenise
        # Hashing lets go of the interpreter, and is done long before the reading is.
        self._hasher: Final = ThreadPoolExecutor(1, "hasher")
        # Written while nothing is wrong, so that a bug in writing has an answer too.
        self._after_bug: Final = _refuse(Call(), Failure.INTERNAL_ERROR)
        self._answer_to_bug: Final = wire.write(self._after_bug.decision, {})

    async def check(self, message: bytes, deadline: float, cancellation: Cancellation) -> bytes:
        """CheckRequest bytes in, CheckResponse bytes out. Never raises for a message it received.

        Args:
            message: a serialised CheckRequest.
            deadline: instant of the event loop's clock at which the caller gives up.
            cancellation: set by the transport when nobody waits any more.
        """
        loop = asyncio.get_running_loop()
        arrived, started = loop.time(), time.perf_counter()
        allowed_s = _DEADLINE_SHARE * (deadline - arrived)
        policy = self.policy
        try:
            call = wire.read(message)
            hashed = self._hash(b"" if isinstance(call, Failure) else call.body)
            outcome = await self.decide(policy, call, arrived + allowed_s, cancellation)
            digest = await _by(arrived + allowed_s, hashed)
            receipt = self._receipt(policy, outcome, digest)
            answer = wire.write(outcome.decision, self._metadata(policy, outcome), receipt)
        except Exception as bug:  # noqa: BLE001 - an RPC error would be an allow under failure_mode_allow
            _report("answered with a denial", bug)
            outcome, answer, digest = self._after_bug, self._answer_to_bug, _sha256(b"")
        principal = outcome.call.principal
        seen = Observation(
            outcome.call,
            outcome.signals,
            outcome.decision,
            policy.digest,
            self._scorer.directory.digest,
            digest.hex(),
            receipts.name_digest(self._receipt_key, principal) if principal else "",
            allowed_s,
            time.perf_counter() - started,
        )
        loop.call_soon(self._tell, seen)
        return answer

    def _tell(self, seen: Observation) -> None:
        try:
            self._observe(seen)
        except Exception as bug:  # noqa: BLE001 - the event loop would log its text
            _report("a decision was not recorded", bug)

    async def decide(
        self, policy: Policy, call: Call | Failure, deadline: float, cancellation: Cancellation
    ) -> Outcome:
        """The decision on a call. `extauthz explain` shows each step of this."""
        if isinstance(call, Failure):
            return _refuse(Call(), call)
        principal = identify(call, policy.identity)
        call = identified(call, principal, policy.identity)
        path = canonical_path(call.path)
        if isinstance(path, Failure):
            return _refuse(call, path)
        if isinstance(principal, Failure):
            return _refuse(call, principal)
        rule = policy.match(call, path)
        if rule.action is Action.INSPECT:
            signals = await self._inspect(rule, call, path, deadline, cancellation)
        else:
            signals = Signals(dialect=dialect_for(path))
        return Outcome(call, rule, signals, decide(rule, signals, call.headers))

    async def _inspect(
        self, rule: Rule, call: Call, path: str, deadline: float, cancellation: Cancellation
    ) -> Signals:
        """The facts about the text of a request."""
        dialect = dialect_for(path)
        task = partial(read, call, path, dialect, rule, self._detokenise)
        reading = await self._read(task, call, deadline, cancellation)
        if isinstance(reading, Failure):
            return Signals(failure=reading, dialect=dialect)
        facts = Signals(
            coverage=reading.coverage,
            dialect=dialect,
            stream=reading.stream,
            findings=reading.findings,
        )
        if rule.detect.prompt_injection is None or certain_denial(rule, facts):
            return facts  # the classifier is not asked when its answer would change nothing
        texts = [Passage(look.segment.provenance, look.text) for look in reading.looks]
        scores = await self._scorer.score(texts, rule.limits.tokens, deadline, cancellation)
        if isinstance(scores, Failure):
            return replace(facts, failure=scores)
        return replace(
            facts,
            scored=self._compared(rule, reading, scores),
            findings=(*facts.findings, *_unreadable(rule, reading, scores)),
        )

    async def _read(
        self,
        task: Callable[[], Reading | Failure],
        call: Call,
        deadline: float,
        cancellation: Cancellation,
    ) -> Reading | Failure:
        """What `task` reads in a call: on a thread, a few at a time, where it may take long."""
        if _is_quick(call):
            return task()
        weight = len(call.body)
        if self._reading_bytes + weight > _MAX_READING_BYTES:
            return Failure.OVERLOADED
        self._reading_bytes += weight
        try:
            async with asyncio.timeout_at(deadline):
                reading: Reading | Failure = await asyncio.get_running_loop().run_in_executor(
                    self._readers, _if_wanted, task, cancellation
                )
                return reading
        except TimeoutError:
            return Failure.DEADLINE_EXCEEDED
        finally:
            self._reading_bytes -= weight

    def close(self) -> None:
        """Stop the threads that read and hash large bodies."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._hasher.shutdown(wait=True, cancel_futures=True)

    def _hash(self, body: bytes) -> asyncio.Future[bytes]:
        """SHA-256 of a body; large ones are hashed on a thread while they are read."""
        loop = asyncio.get_running_loop()
        if len(body) > _INLINE_BYTES:
            return loop.run_in_executor(self._hasher, _sha256, body)
        done: asyncio.Future[bytes] = loop.create_future()
        done.set_result(_sha256(body))
        return done

    def _receipt(self, policy: Policy, outcome: Outcome, body_sha256: bytes) -> str:
        """Proof of the check, for a request that is let through; empty when receipts are off."""
        call, decision = outcome.call, outcome.decision
        if self._receipt_key is None or decision.denial is not None or not body_sha256:
            return ""
        content = receipts.receipt(
            receipts.inspection(decision, outcome.signals),
            call_id=call.id,
            request_id=call.headers.get("x-request-id", ""),
            body_sha256=body_sha256,
            policy=policy.digest,
            model=self._scorer.directory.digest,
            at_s=int(time.time()),
        )
        return receipts.seal(self._receipt_key, content)

    def _compared(self, rule: Rule, reading: Reading, scores: Scores) -> tuple[Scored, ...]:
        """Each score beside the threshold for the place its text is from."""
        rate = rule.false_positive_rate
        thresholds = self._scorer.directory.thresholds(rate) | rule.thresholds
        return tuple(
            Scored(
                look.segment.provenance,
                look.segment.pointer,
                look.view,
                score.windows,
                score.tokens,
                score.score,
                thresholds[look.segment.provenance],
            )
            for look, score in zip(reading.looks, scores, strict=True)
        )

    def _metadata(self, policy: Policy, outcome: Outcome) -> wire.Metadata:
        decision, worst = outcome.decision, outcome.signals.worst
        return {
            "verdict": decision.verdict.value,
            "reason": decision.reason.value,
            "rule": decision.rule,
            "shadowed": decision.shadowed.value if decision.shadowed else "none",
            "flags": ",".join(decision.flags),
            "score": round(worst.score, 4) if worst and worst.score == worst.score else -1.0,
            "policy": policy.digest,
            "model": self._scorer.directory.digest,
        }


def _unreadable(rule: Rule, reading: Reading, scores: Scores) -> Iterator[Finding]:
    """The texts in a language that the classifier cannot read, whatever it says of them."""
    if rule.detect.unreadable is Reaction.IGNORE:
        return
    for look, score in zip(reading.looks, scores, strict=True):
        if is_unreadable(look.text, score.unread):
            yield Finding(Detector.UNREADABLE, look.segment.pointer, look.view)


def _refuse(call: Call, failure: Failure) -> Outcome:
    """No rule could be found for the call, or there was a bug: denied, whatever the rules allow."""
    rule, signals = Rule(name="none"), Signals(failure=failure)
    return Outcome(call, rule, signals, decide(rule, signals, call.headers))


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _is_quick(call: Call) -> bool:
    """Whether reading a body takes but a moment: few bytes, of few strings, whatever they are."""
    size = len(call.body)
    return (
        size <= _INLINE_BYTES
        and call.body.count(b",") <= _INLINE_COMMAS
        and not is_coded(call.headers)
    )


async def _by(deadline: float, hashed: asyncio.Future[bytes]) -> bytes:
    """The digest of a body, or none: a queue of large bodies keeps no answer beyond its deadline."""
    try:
        async with asyncio.timeout_at(deadline):
            return await hashed
    except TimeoutError:
        return b""


def _if_wanted(
    task: Callable[[], Reading | Failure], cancellation: Cancellation
) -> Reading | Failure:
    return Failure.CANCELLED if cancellation.cancelled else task()


def _report(consequence: str, bug: Exception) -> None:
    """Where a bug is, without the exception's text: that may quote a prompt."""
    frames = traceback.extract_tb(bug.__traceback__)
    trace = " <- ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    _log.error("bug, %s: %s at %s", consequence, type(bug).__name__, trace)

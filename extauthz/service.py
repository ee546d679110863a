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

from extauthz.accounts import Accounts
from extauthz.core import receipts
from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Demand
from extauthz.core.call import Call, Passage
from extauthz.core.cancellation import Cancellation
from extauthz.core.decision import Decision, Scored, Signals, Verdict, certain_denial, decide
from extauthz.core.dialects import dialect_for
from extauthz.core.findings import Detector, Finding
from extauthz.core.identity import identified, identify
from extauthz.core.path import canonical_path
from extauthz.core.policy import Action, Policy, Reaction, Rule
from extauthz.core.reading import NO_VOCABULARY, Reading, Vocabulary, read
from extauthz.core.reasons import SERVER_FAILURES, Failure
from extauthz.core.rules.unreadable import is_unreadable
from extauthz.model.directory import ModelDirectory
from extauthz.model.scorer import Scores
from extauthz.protocol import check as wire
from extauthz.readers import INLINE_BYTES, Readers
from extauthz.telemetry.observation import Observation

_log: Final = logging.getLogger(__name__)

#: Share of the caller's time that we use, so that our answer arrives before its timeout does.
_DEADLINE_SHARE: Final = 0.8
#: Of English, in most vocabularies; other languages have fewer.
_BYTES_PER_TOKEN: Final = 4


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
        accounts: Accounts,
        observe: Callable[[Observation], None],
        receipt_key: bytes | None = None,
        vocabulary: Vocabulary = NO_VOCABULARY,
    ) -> None:
        """`serve` may replace `policy` at any time: a check reads it once.

        With `receipt_key` every allow carries a receipt, and records name principals by it.
        With `vocabulary` prompts of token ids are read, and texts are counted and not estimated.
        """
        self._scorer: Final = scorer
        self._accounts: Final = accounts
        self._observe: Final = observe
        self._readers: Final = Readers()
        self._receipt_key: Final = receipt_key
        self._vocabulary: Final = vocabulary
        # Hashing lets go of the interpreter, and is done long before the reading is.
        self._hasher: Final = ThreadPoolExecutor(1, "hasher")
        # Written while nothing is wrong, so that a bug in writing has an answer too.
        self._after_bug: Final = _refuse(Call(), Failure.INTERNAL_ERROR)
        self._answer_to_bug: Final = wire.write(self._after_bug.decision, {})
        self.serve(policy)

    def serve(self, policy: Policy) -> None:
        """Decide by this policy from now on, and count by its limits."""
        self.policy = policy
        self._accounts.serve(policy)

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
        call: Call | Failure = Failure.CHECK_MALFORMED
        try:
            call = wire.read(message)
            hashed = self._hash(b"" if isinstance(call, Failure) else call.body)
            outcome = await self.decide(policy, call, arrived + allowed_s, cancellation)
            digest = await _by(arrived + allowed_s, hashed)
            receipt = self._receipt(policy, outcome, digest)
            answer = wire.write(outcome.decision, self._metadata(policy, outcome), receipt)
            if cancellation.cancelled and isinstance(call, Call):
                self._accounts.release(call)  # nobody reads the answer, so nothing would settle it
        except Exception as bug:  # noqa: BLE001 - an RPC error would be an allow under failure_mode_allow
            _report("answered with a denial", bug)
            self._let_go(call)
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
            self._accounts.model(outcome.signals.demand),
            allowed_s,
            time.perf_counter() - started,
        )
        loop.call_soon(self._tell, seen)
        return answer

    def _let_go(self, call: Call | Failure) -> None:
        """Give back what a request that met a bug had reserved, unless that is where the bug is."""
        try:
            if isinstance(call, Call):
                self._accounts.release(call)
        except Exception as bug:  # noqa: BLE001 - the answer is a denial already, and must be given
            _report("a reservation stays until it expires", bug)

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
        tenant = identify(call, policy.tenant)
        call = identified(call, principal, tenant, policy.sources)
        path = canonical_path(call.path)
        if isinstance(path, Failure):
            return _refuse(call, path)
        for unclear in (principal, tenant):
            if isinstance(unclear, Failure):
                return _refuse(call, unclear)
        rule = policy.match(call, path)
        signals = await self._signals(rule, call, path, deadline, cancellation)
        decision = decide(rule, signals, call.headers)
        if signals.allowance is not None and decision.verdict is Verdict.DENY:
            self._accounts.release(call)
        return Outcome(call, rule, signals, decision)

    async def _signals(
        self, rule: Rule, call: Call, path: str, deadline: float, cancellation: Cancellation
    ) -> Signals:
        """The facts about a request: what is in it, and whether its caller may have it."""
        dialect = dialect_for(path)
        limited = self._accounts.limits(rule)
        if rule.action is Action.DENY or (rule.action is Action.ALLOW and not limited):
            return Signals(dialect=dialect)
        task = partial(read, call, path, dialect, rule, self._vocabulary)
        reading = _countable(
            await self._readers.read(task, call, deadline, cancellation),
            limited or rule.limits.caps,
        )
        allowance = await self._reserve(rule, call, reading, deadline) if limited else None
        failure = allowance if isinstance(allowance, Failure) else None
        counted = None if isinstance(allowance, Failure) else allowance
        if isinstance(reading, Failure):
            return Signals(failure=reading, dialect=dialect, allowance=counted)
        facts = Signals(
            failure=failure,
            coverage=reading.coverage,
            dialect=dialect,
            stream=reading.stream,
            findings=reading.findings,
            demand=reading.demand,
            allowance=counted,
        )
        if facts.failure or not _asks_classifier(rule) or certain_denial(rule, facts):
            return facts  # the classifier is not asked when its answer would change nothing
        return await self._scored(rule, reading, facts, deadline, cancellation)

    async def _reserve(
        self, rule: Rule, call: Call, reading: Reading | Failure, deadline: float
    ) -> Allowance | Failure:
        """Reserve what a request may cost. One that cannot be read costs that it is a request."""
        demand = _unread(call, reading) if isinstance(reading, Failure) else reading.demand
        return await self._accounts.reserve(call, rule, demand, deadline)

    async def _scored(
        self,
        rule: Rule,
        reading: Reading,
        facts: Signals,
        deadline: float,
        cancellation: Cancellation,
    ) -> Signals:
        """The facts, and what the classifier says of the texts."""
        texts = [Passage(look.segment.provenance, look.text) for look in reading.looks]
        scores = await self._scorer.score(texts, rule.limits.tokens, deadline, cancellation)
        if isinstance(scores, Failure):
            return replace(facts, failure=scores)
        return replace(
            facts,
            scored=self._compared(rule, reading, scores),
            findings=(*facts.findings, *_unreadable(rule, reading, scores)),
        )

    def close(self) -> None:
        """Stop the threads that read and hash large bodies."""
        self._readers.close()
        self._hasher.shutdown(wait=True, cancel_futures=True)

    def _hash(self, body: bytes) -> asyncio.Future[bytes]:
        """SHA-256 of a body; large ones are hashed on a thread while they are read."""
        loop = asyncio.get_running_loop()
        if len(body) > INLINE_BYTES:
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
            **_limit_metadata(outcome.signals.allowance),
            **self._settling(outcome),
        }

    def _settling(self, outcome: Outcome) -> wire.Metadata:
        """What the access log has to say for a reservation to be settled; nothing where there is none."""
        allowance = outcome.signals.allowance
        if allowance is None or allowance.limited or outcome.decision.verdict is Verdict.DENY:
            return {}
        return {
            "id": outcome.call.id,
            "replica": self._accounts.replica,
            "billed_model": self._accounts.model(outcome.signals.demand),
            "capped": "no" if outcome.signals.demand.output_cap is None else "yes",
            "reserved_tokens": sum(allowance.reserved),
        }


def _asks_classifier(rule: Rule) -> bool:
    return rule.action is Action.INSPECT and rule.detect.prompt_injection is not None


def _unread(call: Call, failure: Failure) -> Demand:
    """What to count of a request that was not read. One that may pass all the same is counted by its size."""
    if failure in SERVER_FAILURES:
        return Demand(input_tokens=len(call.body) // _BYTES_PER_TOKEN)
    return Demand(output_cap=0)


def _countable(reading: Reading | Failure, counts: bool) -> Reading | Failure:
    """The reading, unless what it asks for has to be counted and is no number."""
    if counts and isinstance(reading, Reading) and not reading.demand.well_formed:
        return Failure.OUTPUT_CAP_MALFORMED
    return reading


def _limit_metadata(allowance: Allowance | None) -> wire.Metadata:
    if allowance is None or allowance.limit is None:
        return {}
    return {"limit": allowance.limit.name, "limit_remaining": allowance.remaining_amount}


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


async def _by(deadline: float, hashed: asyncio.Future[bytes]) -> bytes:
    """The digest of a body, or none: a queue of large bodies keeps no answer beyond its deadline."""
    try:
        async with asyncio.timeout_at(deadline):
            return await hashed
    except TimeoutError:
        return b""


def _report(consequence: str, bug: Exception) -> None:
    """Where a bug is, without the exception's text: that may quote a prompt."""
    frames = traceback.extract_tb(bug.__traceback__)
    trace = " <- ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    _log.error("bug, %s: %s at %s", consequence, type(bug).__name__, trace)

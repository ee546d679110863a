"""A service door for tests: an authorizer with a scorer that fires on one word, without a model."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from extauthz.accounts import alone
from extauthz.core.call import Passage
from extauthz.core.cancellation import Cancellation
from extauthz.core.policy import Identity, IdentitySource, Policy, Rule
from extauthz.core.reasons import Failure
from extauthz.model.directory import ModelDirectory
from extauthz.model.scorer import Scores, TextScore
from extauthz.service import Authorizer
from extauthz.telemetry.observation import Observation
from tests import as_envoy, builders
from tests.canary_model import CANARY as MARKER

MODEL = ModelDirectory(
    path=Path(),
    name="stub",
    version="1",
    digest="m" * 64,
    graph_digest="0" * 64,
    onnx=Path(),
    tokenizer=Path(),
    labels=("SAFE", "INJECTION"),
    malicious=(False, True),
    window=32,
    overlap=8,
    pad_id=0,
    markers={},
    calibration=None,
    batch_invariant=True,
)


class Scorer:
    """Scores 0.9876 where the marker is and 0.0123 elsewhere, or does what it is told to."""

    def __init__(self, then: Callable[[], Awaitable[Scores | Failure]] | None = None) -> None:
        self.directory = MODEL
        self.texts: Sequence[Passage] = ()
        self.max_tokens = 0
        self.deadline = 0.0
        self.cancellation: Cancellation | None = None
        self._then = then

    async def score(
        self, texts: Sequence[Passage], max_tokens: int, deadline: float, cancellation: Cancellation
    ) -> Scores | Failure:
        self.texts, self.max_tokens = texts, max_tokens
        self.deadline, self.cancellation = deadline, cancellation
        if self._then is not None:
            return await self._then()
        return tuple(TextScore(0.9876 if MARKER in one.text else 0.0123, 1, 7) for one in texts)


def policy(
    *routes: Rule,
    digest: str = "p" * 64,
    identity: tuple[Identity, ...] = (Identity(source=IdentitySource.MTLS),),
    **default: Any,
) -> Policy:
    return Policy(digest=digest, routes=routes, default=builders.rule(**default), identity=identity)


class Door:
    """An authorizer with everything it is given, and what it told."""

    def __init__(self, served: Policy | None = None, scorer: Scorer | None = None) -> None:
        self.seen: list[Observation] = []
        self.scorer = scorer or Scorer()
        self.authorizer = Authorizer(served or policy(), self.scorer, alone(), self.seen.append)

    async def check(self, message: bytes) -> bytes:
        deadline = asyncio.get_running_loop().time() + 10
        return await self.authorizer.check(message, deadline, Cancellation())

    async def about(self, **call: Any) -> bytes:
        return await self.check(as_envoy.ask(builders.call(**call)))


def says(text: str) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}]}).encode()


def told(answer: bytes) -> tuple[object, object]:
    found = as_envoy.metadata(answer)
    return found["verdict"], found["reason"]


async def returns(value: Scores | Failure) -> Scores | Failure:
    return value

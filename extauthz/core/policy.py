"""What the operator wants: which rule a call falls under, and what that rule says."""

from enum import StrEnum
from functools import cached_property
from typing import Final

from extauthz.core.budget.limits import Budgets
from extauthz.core.call import Call, Provenance
from extauthz.core.findings import Detector, Finding
from extauthz.core.opaque import Opaque
from extauthz.core.rules.linear import NamedSet
from extauthz.core.rules.patterns import compile_patterns
from extauthz.core.spec import Spec

#: Request headers that only we may set; a client's copy is removed before upstream.
OWN_HEADER_PREFIX: Final = "x-extauthz-"


#: Names, IPv4 and bracketed IPv6 addresses. No user info, no blanks, no escapes.
_HOST_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.:[]")


class Action(StrEnum):
    """What a rule does with a call."""

    INSPECT = "inspect"
    ALLOW = "allow"
    DENY = "deny"


class OnFailure(StrEnum):
    """Who decides when we could not: we (deny, allow) or the mesh (error: its failure mode)."""

    DENY = "deny"
    ERROR = "error"
    ALLOW = "allow"


class DenyShape(StrEnum):
    """How a denial looks to the caller.

    json_403 is plain HTTP. content_filter_400 is the OpenAI error that SDKs and red-team tools
    understand (a 403 aborts some of them). refusal_200 is an answer in the caller's dialect.
    """

    JSON_403 = "json_403"
    CONTENT_FILTER_400 = "content_filter_400"
    REFUSAL_200 = "refusal_200"


class Reaction(StrEnum):
    """What a finding leads to. `flag` allows and says so in records, metrics and metadata."""

    DENY = "deny"
    FLAG = "flag"
    IGNORE = "ignore"


class IdentitySource(StrEnum):
    """Where a principal can come from. None of them is a client's to choose."""

    MTLS = "mtls"
    JWT = "jwt"
    API_KEY = "api_key"
    HEADER = "header"


class Match(Spec, frozen=True):
    """Which calls a rule is for. Every list that is not empty must hold; an empty one holds always.

    Attributes:
        hosts: exact names, or `*.example.com` for every name below it. No port.
        paths: exact canonical paths (`canonical_path`).
        path_prefixes: `/v1/models` also matches `/v1/models/x`, never `/v1/modelsX`.
        methods: HTTP methods, upper case.
        principals: peer identities verified by Envoy, exact.
        context: `context_extensions` that the route must carry.
    """

    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    path_prefixes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    context: dict[str, str] = {}

    def holds(self, call: Call, host: str, path: str) -> bool:
        """Whether `call` is meant, given its canonical host and path."""
        return (
            (not self.hosts or any(_host_is(host, pattern) for pattern in self.hosts))
            and (not (self.paths or self.path_prefixes) or self._path_is(path))
            and (not self.methods or call.method.upper() in self.methods)
            and (not self.principals or call.principal in self.principals)
            and all(call.context.get(key) == value for key, value in self.context.items())
        )

    def _path_is(self, path: str) -> bool:
        return path in self.paths or any(
            path == prefix or path.startswith(prefix.rstrip("/") + "/")
            for prefix in self.path_prefixes
        )


class PromptInjection(Spec, frozen=True):
    """The classifier.

    Attributes:
        false_positive_rate: the share of honest texts that may be denied, which the model's calibration
            turns into a threshold for each provenance; None is the rate the model recommends.
        thresholds: scores that are denied, in place of those.
    """

    false_positive_rate: float | None = None
    thresholds: dict[Provenance, float] = {}


class Views(Spec, frozen=True):
    """Which readings of a text are looked at besides the raw one. Each costs time where it differs."""

    normalised: bool = True
    decoded: bool = True
    joined: bool = True


class Patterns(Spec, frozen=True):
    """A list of the operator's own: RE2 regular expressions, and literals without regard to case.

    They are looked for in every view.
    """

    name: str
    regex: tuple[str, ...] = ()
    literals: tuple[str, ...] = ()
    reaction: Reaction = Reaction.DENY


class ManyShot(Spec, frozen=True):
    """How many turns of dialogues one text may hold, and what happens above that."""

    turns: int = 32
    reaction: Reaction = Reaction.FLAG


class Detect(Spec, frozen=True, dict=True):
    """The detectors of a rule that inspects.

    `uninspected` says what happens when a request carries what no text classifier can read. A kind
    that is left out has its default: what is likely text in disguise is denied, what people send
    every day (pictures, speech, references) is let through and flagged.
    """

    prompt_injection: PromptInjection | None = PromptInjection()
    views: Views = Views()
    hidden_text: Reaction = Reaction.DENY
    special_tokens: Reaction = Reaction.FLAG
    role_lookalikes: Reaction = Reaction.FLAG
    chat_template: Reaction = Reaction.DENY
    many_shot: ManyShot = ManyShot()
    unreadable: Reaction = Reaction.DENY
    patterns: tuple[Patterns, ...] = ()
    uninspected: dict[Opaque, Reaction] = {}

    @cached_property
    def pattern_set(self) -> NamedSet:
        """`patterns`, compiled. The reader of policy files does it, and it goes with the policy."""
        return compile_patterns(self.patterns)

    def on_finding(self, finding: Finding) -> Reaction:
        """What the operator wants done about a finding."""
        match finding.detector:
            case Detector.MANY_SHOT:
                return self.many_shot.reaction
            case Detector.PATTERN:
                named = (one.reaction for one in self.patterns if one.name == finding.name)
                return next(named, Reaction.DENY)
            case detector:  # the others are keys of this name
                reaction: Reaction = getattr(self, detector.value)
                return reaction

    def on_opaque(self, kind: Opaque) -> Reaction:
        """What the operator wants done about content that cannot be read."""
        return self.uninspected.get(kind, _ON_OPAQUE[kind])


_ON_OPAQUE: Final = {
    Opaque.IMAGE: Reaction.FLAG,
    Opaque.AUDIO: Reaction.FLAG,
    Opaque.VIDEO: Reaction.FLAG,
    Opaque.DOCUMENT: Reaction.DENY,
    Opaque.BINARY: Reaction.DENY,
    Opaque.TOKEN_IDS: Reaction.DENY,
    Opaque.STORED: Reaction.FLAG,
    Opaque.REMOTE: Reaction.FLAG,
}


class Limits(Spec, frozen=True):
    """What one request may hold, and ask for. More is denied, never cut.

    body_bytes: as large as Envoy's max_request_bytes; coding agents send 200 KB to 2 MB.
    tokens: that the classifier reads for one request: all views, overlaps and special tokens.
    output_tokens: the most that a request may ask for in each answer; None is no bound.
    choices: how many answers a request may ask for; None is no bound.
    output_required: a request that does not say how long an answer may be is denied too.
    """

    body_bytes: int = 8 * 1024 * 1024
    tokens: int = 32_768
    output_tokens: int | None = None
    choices: int | None = None
    output_required: bool = False

    @property
    def caps(self) -> bool:
        """Whether what a request asks for is bounded."""
        return self.output_tokens is not None or self.choices is not None


class Mutate(Spec, frozen=True):
    """Changes to a request that is let through, and to its response."""

    set_headers: dict[str, str] = {}
    remove_headers: tuple[str, ...] = ()
    set_query: dict[str, str] = {}
    remove_query: tuple[str, ...] = ()
    response_headers: dict[str, str] = {}


class Rule(Spec, frozen=True):
    """What to do with the calls of one route. By default it inspects, enforces, and denies on failure."""

    name: str = "default"
    match: Match = Match()
    action: Action = Action.INSPECT
    detect: Detect = Detect()
    on_failure: OnFailure = OnFailure.DENY
    deny_as: DenyShape = DenyShape.JSON_403
    shadow: bool = False
    limits: Limits = Limits()
    mutate: Mutate | None = None

    @property
    def thresholds(self) -> dict[Provenance, float]:
        """Thresholds that replace the model's own."""
        detector = self.detect.prompt_injection
        return detector.thresholds if detector else {}

    @property
    def false_positive_rate(self) -> float | None:
        """The share of honest texts that may be denied, if the operator named one."""
        detector = self.detect.prompt_injection
        return detector.false_positive_rate if detector else None


class Identity(Spec, frozen=True):
    """One place to look for the principal, or for the tenant.

    Attributes:
        source: mtls is the peer certificate that Envoy verified; jwt a claim that its jwt_authn
            filter verified; api_key a header whose value is hashed; header one that Envoy is known
            to overwrite on every request.
        header: for api_key and header, lower case.
        namespace: for jwt, the filter whose metadata is read.
        claim: for jwt, the member names from the top of that metadata to the claim.
    """

    source: IdentitySource
    header: str = ""
    namespace: str = "envoy.filters.http.jwt_authn"
    claim: tuple[str, ...] = ()


class Policy(Spec, frozen=True):
    """Rules in order, and the default for calls that none of them is for.

    `digest` is the SHA-256 of the policy file, hex: which policy a decision was made under.
    `identity` lists where to look for the principal; the first that has one wins. `tenant` lists
    where to look for whom the principal belongs to, in the same way.
    """

    digest: str
    routes: tuple[Rule, ...]
    default: Rule
    identity: tuple[Identity, ...] = (Identity(source=IdentitySource.MTLS),)
    tenant: tuple[Identity, ...] = ()
    budgets: Budgets = Budgets()

    @property
    def sources(self) -> tuple[Identity, ...]:
        """Every place where a call may hold a credential that nobody else is to see (`identified`)."""
        return (*self.identity, *self.tenant)

    def match(self, call: Call, path: str) -> Rule:
        """The first rule that holds. Total: there is always the default.

        Host, path and principal suffice (Istio passes nothing else); `context` refines.
        """
        host = canonical_host(call.host)
        return next(
            (rule for rule in self.routes if rule.match.holds(call, host, path)),
            self.default,
        )


def canonical_host(authority: str) -> str:
    """Host of an authority: lower case, without port and trailing dot; empty if it is no host."""
    host, bracket, _ = authority.rpartition("]")
    if not bracket:
        host = authority.partition(":")[0]
    name = (host + bracket).rstrip(".").lower()
    return name if _HOST_CHARS.issuperset(name) else ""


def _host_is(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern

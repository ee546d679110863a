"""A policy file is understood in one way, or refused with the line, what is there and what should be."""

import hashlib
import random
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import extauthz
from extauthz.core.budget.limits import Budgets, Limit, Model, Price, Settle
from extauthz.core.call import Provenance
from extauthz.core.opaque import Opaque
from extauthz.core.policy import (
    Action,
    DenyShape,
    Detect,
    Identity,
    IdentitySource,
    Limits,
    ManyShot,
    Match,
    Mutate,
    OnFailure,
    Patterns,
    Policy,
    PromptInjection,
    Reaction,
    Rule,
    Views,
)
from extauthz.policy_file import PolicyError, load, parse
from tests import builders
from tests.fixtures import sdk_call, sdk_calls, sdk_path

GOLDEN = """\
version: 1
routes:
  - name: agents
    match:
      hosts: ["*.example.com", api.example.org, "[2001:db8::7]"]
      paths: [/v1/chat/completions]
      path_prefixes: [/v1/responses]
      methods: [POST]
      principals: [spiffe://example.com/agent]
      context: {tier: gold, "1": "2"}
    action: inspect
    detect:
      prompt_injection:
        false_positive_rate: 0.001
        thresholds: {tool_result: 0.25, user: 1}
      views: {decoded: false}
      hidden_text: flag
      special_tokens: deny
      role_lookalikes: ignore
      chat_template: flag
      many_shot: {turns: 8, reaction: deny}
      unreadable: flag
      patterns:
        - {name: codenames, literals: [Orion, Blue Heron], reaction: flag}
        - name: secrets
          regex: ['sk-[A-Za-z0-9]{20,64}', '(?i)\\bproject\\s+x\\b']
      uninspected: {image: deny, token_ids: flag}
    on_failure: error
    deny_as: refusal_200
    shadow: true
    limits: {body_bytes: 65536, tokens: 4096}
    mutate:
      set_headers: {x-checked: "yes"}
      remove_headers: [x-debug]
      set_query: {api-version: 2024-10-21-preview}
      remove_query: [debug]
      response_headers: {set-cookie: a=b; Secure}
  - {name: health, match: {paths: [/health]}, action: allow}
default: {action: deny}
identity:
  - source: mtls
  - {source: jwt, claim: [payload, sub]}
  - {source: jwt, namespace: my.jwt, claim: [sub]}
  - {source: api_key, header: authorization}
  - {source: header, header: x-tenant}
"""
HEAD = "version: 1\ndefault: {action: deny}\nroutes:\n"
ROUTE = HEAD + "  - name: a\n    match: {paths: [/a]}\n"
MUTATE = ROUTE + "    mutate:\n"
DETECT = ROUTE + "    detect:\n"
PATTERNS = DETECT + "      patterns:\n        - name: p\n"
_RANDOM = random.Random(1)
EMOJI = {"".join(_RANDOM.choices([chr(0x1F600 + i) for i in range(80)], k=20)) for _ in range(4900)}
SOURCE = "version: 1\ndefault: {}\nidentity:\n"


def refused(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(PolicyError) as caught:
        parse(data, "p.yaml")
    return str(caught.value)


def test_a_file_becomes_the_policy_it_says() -> None:
    agents = builders.rule(
        name="agents",
        match={
            "hosts": ["*.example.com", "api.example.org", "[2001:db8::7]"],
            "paths": ["/v1/chat/completions"],
            "path_prefixes": ["/v1/responses"],
            "methods": ["POST"],
            "principals": ["spiffe://example.com/agent"],
            "context": {"tier": "gold", "1": "2"},
        },
        action=Action.INSPECT,
        detect={
            "prompt_injection": {
                "false_positive_rate": 0.001,
                "thresholds": {Provenance.TOOL_RESULT: 0.25, Provenance.USER: 1.0},
            },
            "views": {"decoded": False},
            "hidden_text": "flag",
            "special_tokens": "deny",
            "role_lookalikes": "ignore",
            "chat_template": "flag",
            "many_shot": {"turns": 8, "reaction": "deny"},
            "unreadable": "flag",
            "patterns": [
                {"name": "codenames", "literals": ["Orion", "Blue Heron"], "reaction": "flag"},
                {
                    "name": "secrets",
                    "regex": ["sk-[A-Za-z0-9]{20,64}", r"(?i)\bproject\s+x\b"],
                    "reaction": "deny",
                },
            ],
            "uninspected": {"image": "deny", "token_ids": "flag"},
        },
        on_failure=OnFailure.ERROR,
        deny_as=DenyShape.REFUSAL_200,
        shadow=True,
        limits={"body_bytes": 65_536, "tokens": 4_096},
        mutate={
            "set_headers": {"x-checked": "yes"},
            "remove_headers": ["x-debug"],
            "set_query": {"api-version": "2024-10-21-preview"},
            "remove_query": ["debug"],
            "response_headers": {"set-cookie": "a=b; Secure"},
        },
    )
    health = builders.rule(name="health", match={"paths": ["/health"]}, action="allow")
    assert parse(GOLDEN.encode(), "p.yaml") == Policy(
        digest=hashlib.sha256(GOLDEN.encode()).hexdigest(),
        routes=(agents, health),
        default=builders.rule(action="deny"),
        identity=(
            Identity(source=IdentitySource.MTLS),
            Identity(source=IdentitySource.JWT, claim=("payload", "sub")),
            Identity(source=IdentitySource.JWT, namespace="my.jwt", claim=("sub",)),
            Identity(source=IdentitySource.API_KEY, header="authorization"),
            Identity(source=IdentitySource.HEADER, header="x-tenant"),
        ),
    )


def test_what_is_left_out_has_the_safe_value() -> None:
    policy = parse(b"version: 1\ndefault: {}\n", "p.yaml")
    assert policy.routes == ()
    assert policy.default.action is Action.INSPECT
    assert policy.default.on_failure is OnFailure.DENY
    assert not policy.default.shadow
    assert policy.default.detect == Detect()
    assert policy.identity == (Identity(source=IdentitySource.MTLS),)


def test_the_digest_changes_with_every_byte() -> None:
    digests = {
        parse(text, "p").digest
        for text in (b"version: 1\ndefault: {}\n" + b"\n" * n for n in range(3))
    }
    assert len(digests) == 3


#: (file, line, what the message says). The line is the one to be changed.
YAML_TRICKS: list[tuple[str | bytes, int, str]] = [
    ("", 1, "found an empty file"),
    ("# only words\n", 1, "found an empty file"),
    (b"version: 1\n\nx: \xff\n", 3, "found byte 0xff; expected UTF-8"),
    ("version: 1\nx: \x07\n", 2, "found control character U+0007"),
    ('version: 1\nx: "\\a"\n', 2, "found U+0007 in a string"),
    ("version: 1\ndefault: {action: deny\n", 3, "expected well-formed YAML"),
    ("version: 1\ndefault: a: b\n", 2, "expected well-formed YAML"),
    ("version: 1\ndefault: {}\n---\nversion: 1\n", 3, "found a second document"),
    ("%YAML 1.1\n---\nversion: 1\ndefault: {}\n", 1, "found a directive"),
    ("version: 1\ndefault: &d {}\n", 2, "found the anchor &d"),
    ("version: 1\n&k default: {}\n", 2, "found the anchor &k"),
    ("version: 1\ndefault: *d\n", 2, "found an alias"),
    ("version: 1\ndefault:\n  <<: {action: deny}\n", 3, "found the merge key <<"),
    ("version: !!int 1\ndefault: {}\n", 1, "found the tag tag:yaml.org,2002:int"),
    ("version: 1\ndefault: !!python/object/apply:os.system [id]\n", 2, "found the tag"),
    ("version: 1\ndefault: {}\ndefault: {}\n", 3, "found the key default again (first on line 2)"),
    ('version: 1\ndefault: {}\n"default": {}\n', 3, "found the key default again"),
    ("version: 1\n1: {}\ndefault: {}\n", 2, 'found the key 1; expected a string: write "1"'),
    ("version: 1\nno: {}\n", 2, "found no, which YAML readers do not agree on"),
    ("version: 1\n? [a]\n: {}\n", 2, "found a key that is no string"),
    ("version: 1\ndefault:\n", 2, "found nothing; expected a value"),
    ("version: 1\ndefault: ~\n", 2, "found ~, which"),
    ("version: 1\nx: " + "[" * 40 + "]" * 40, 2, "found more than 16 levels of nesting"),
    ("#" * (1024 * 1024 + 1), 1, "found more than 1048576 bytes"),
]
WRONG_FIELDS: list[tuple[str | bytes, int, str]] = [
    (
        "[]\n",
        1,
        "found a list at the top; expected a mapping with budgets, default, identity, routes, tenant, version",
    ),
    ("version: 1\n", 1, "found no key default at the top"),
    ("default: {}\n", 1, "found no key version at the top"),
    ("version: 2\ndefault: {}\n", 1, "found 2 at version; expected 1"),
    ("version: true\ndefault: {}\n", 1, "found true at version; expected 1"),
    ('version: "1"\ndefault: {}\n', 1, 'found "1" at version; expected 1'),
    ("version: 1\ndefault: deny\n", 2, 'found "deny" at default; expected a mapping'),
    ("version: 1\ndefault:\n  match: {paths: [/]}\n", 3, "found an unknown key at default.match"),
    ("version: 1\ndefault:\n  name: x\n", 3, "found an unknown key at default.name"),
    (HEAD + "  - match: {paths: [/a]}\n", 4, "found no key name at routes[0]"),
    (HEAD + "  - name: a\n", 4, "found no key match at routes[0]"),
    (
        ROUTE + "    onfailure: deny\n",
        6,
        "found an unknown key at routes[0].onfailure; expected one of action,",
    ),
    (
        ROUTE + "    on_failure: closed\n",
        6,
        'found "closed" at routes[0].on_failure; expected one of deny, error, allow',
    ),
    (ROUTE + '    shadow: "true"\n', 6, 'found "true" at routes[0].shadow; expected true or false'),
    (ROUTE + "    shadow: 1\n", 6, "found 1 at routes[0].shadow; expected true or false"),
    (
        ROUTE + "    limits: {tokens: 0.5}\n",
        6,
        "found 0.5 at routes[0].limits.tokens; expected a whole number",
    ),
    (
        ROUTE + "    limits: {tokens: true}\n",
        6,
        "found true at routes[0].limits.tokens; expected a whole number",
    ),
    (ROUTE + "    limits: null\n", 6, "found null at routes[0].limits; expected a mapping"),
    (ROUTE + "    detect: {pii: {}}\n", 6, "found an unknown key at routes[0].detect.pii"),
    (
        ROUTE + "    detect:\n      prompt_injection:\n        thresholds:\n          usr: 0.5\n",
        9,
        'found "usr" at routes[0].detect.prompt_injection.thresholds.usr; expected one of system, user',
    ),
    (
        ROUTE + "    detect:\n      prompt_injection:\n        thresholds:\n          user: high\n",
        9,
        "thresholds.user; expected a number",
    ),
    (
        DETECT + "      prompt_injection:\n        false_positive_rate: low\n",
        8,
        'found "low" at routes[0].detect.prompt_injection.false_positive_rate; expected a number',
    ),
    (
        DETECT + "      unreadable: true\n",
        7,
        "found true at routes[0].detect.unreadable; expected one of deny, flag, ignore",
    ),
    (
        HEAD + "  - name: a\n    match:\n      context:\n        tier: 1\n",
        7,
        "found 1 at routes[0].match.context.tier; expected a string",
    ),
    (
        HEAD + "  - name: a\n    match:\n      hosts:\n        - x\n        - 5\n",
        8,
        "found 5 at routes[0].match.hosts[1]; expected a string",
    ),
    (
        HEAD + "  - name: {}\n    match: {paths: [/a]}\n",
        4,
        "found a mapping at routes[0].name; expected a string",
    ),
    (
        HEAD + "  - name: a\n    match: {context: x}\n",
        5,
        'found "x" at routes[0].match.context; expected a mapping',
    ),
    (
        HEAD + "  - name: a\n    match: {hosts: x}\n",
        5,
        'found "x" at routes[0].match.hosts; expected a list',
    ),
    (
        HEAD + "  - name: a\n    match: {host: [x]}\n",
        5,
        "found an unknown key at routes[0].match.host; expected one of context, hosts",
    ),
    (
        MUTATE + "      set_headers:\n        a: 5\n",
        8,
        "found 5 at routes[0].mutate.set_headers.a; expected a string",
    ),
]
WITHOUT_MEANING: list[tuple[str | bytes, int, str]] = [
    (
        HEAD + "  - name: A\n    match: {paths: [/a]}\n",
        4,
        'found "A" at routes[0].name; expected lower-case',
    ),
    (
        HEAD + "  - name: default\n    match: {paths: [/a]}\n",
        4,
        'found "default" at routes[0].name',
    ),
    (ROUTE + "  - name: a\n    match: {paths: [/b]}\n", 6, 'found "a" again at routes[1].name'),
    (HEAD + "  - name: a\n    match: {}\n", 5, "found no condition at routes[0].match"),
    (
        HEAD + "  - name: a\n    match: {methods: [GET], hosts: []}\n",
        5,
        "found an empty condition at routes[0].match.hosts",
    ),
    (
        HEAD
        + '  - name: a\n    match: {context: {a: "\\u200b"}, paths: [/a]}\n    action: allow\n    shadow: false\n',
        7,
        "found shadow beside action: allow",
    ),
    (
        ROUTE + "    action: allow\n    detect: {}\n",
        7,
        "found detect beside action: allow, where it changes nothing",
    ),
    (ROUTE + "    action: allow\n    deny_as: json_403\n", 7, "found deny_as beside action: allow"),
    (
        ROUTE + "    action: deny\n    on_failure: allow\n",
        7,
        "found on_failure beside action: deny",
    ),
    (
        ROUTE + "    action: deny\n    mutate: {remove_query: [a]}\n",
        7,
        "found mutate beside action: deny",
    ),
    (
        ROUTE + "    detect:\n      prompt_injection: null\n      hidden_text: ignore\n"
        "      special_tokens: ignore\n      role_lookalikes: ignore\n"
        "      chat_template: ignore\n      many_shot: {reaction: ignore}\n",
        6,
        "found no detector at routes[0].detect; expected one, or action: allow",
    ),
    (
        ROUTE + "    limits:\n      tokens: 0\n",
        7,
        "found 0 at routes[0].limits.tokens; expected a number from 1 to 1000000",
    ),
    (
        ROUTE + "    limits:\n      body_bytes: 67108865\n",
        7,
        "expected a number from 1 to 67108864",
    ),
    (MUTATE.rstrip("\n") + " {}\n", 6, "found no change at routes[0].mutate"),
    (
        MUTATE + "      set_headers: {a: b}\n      remove_headers: [a]\n",
        8,
        'found "a" set and removed',
    ),
    (MUTATE + "      set_query: {a: b}\n      remove_query: [a]\n", 8, 'found "a" set and removed'),
    (MUTATE + "      remove_headers: [x-extauthz-verdict]\n", 7, "nor ours (x-extauthz-*"),
    (
        ROUTE + "  - name: b\n    match: {paths: [/a], methods: [GET]}\n",
        7,
        'found nothing left to match: "a" above takes it all',
    ),
    (
        HEAD + "".join(f"  - {{name: n{i}, match: {{paths: [/{i}]}}}}\n" for i in range(501)),
        3,
        "found 501 routes at routes; expected at most 500",
    ),
]


DETECTORS: list[tuple[str | bytes, int, str]] = [
    (
        DETECT + "      hidden_text: block\n",
        7,
        'found "block" at routes[0].detect.hidden_text; expected one of deny, flag, ignore',
    ),
    (DETECT + "      views: {rot13: true}\n", 7, "found an unknown key at routes[0].detect.views"),
    (DETECT + "      views: {decoded: 1}\n", 7, "expected true or false"),
    (DETECT + "      uninspected: {pdf: deny}\n", 7, 'found "pdf" at routes[0].detect.uninspected'),
    (DETECT + "      uninspected: {image: maybe}\n", 7, "expected one of deny, flag, ignore"),
    (
        DETECT + "      many_shot:\n        turns: 0\n",
        8,
        "found 0 at routes[0].detect.many_shot.turns; expected a number from 1 to 1000000",
    ),
    (DETECT + "      patterns: []\n", 7, "found an empty list at routes[0].detect.patterns"),
    (DETECT + "      patterns:\n        - regex: [a]\n", 8, "found no key name"),
    (PATTERNS, 8, "found nothing to look for at routes[0].detect.patterns[0]"),
    (PATTERNS + "          regex: []\n          literals: [aa]\n", 9, "found an empty list"),
    (PATTERNS + "          literals: []\n          regex: [aa]\n", 9, "found an empty list"),
    (PATTERNS.replace("name: p", "name: P P") + "          regex: [a]\n", 8, 'found "P P" at'),
    (
        PATTERNS + "          regex: [a]\n        - name: p\n          regex: [b]\n",
        10,
        'found "p" again at routes[0].detect.patterns[1].name',
    ),
    (
        PATTERNS + "          regex: [a]\n          reaction: ignore\n",
        10,
        "found ignore, with which the list changes nothing",
    ),
    (
        PATTERNS + "          regex:\n            - a\n            - b\n            - a\n",
        12,
        'found "a" again at routes[0].detect.patterns[0].regex[2]; expected each once',
    ),
    (
        PATTERNS + "          literals:\n            - Orion\n            - ORION\n",
        11,
        'found "orion" again at routes[0].detect.patterns[0].literals[1]',
    ),
    (PATTERNS + '          literals: [" "]\n', 9, "expected 1 to 200 printable characters"),
    (PATTERNS + '          literals: [""]\n', 9, "expected 1 to 200 printable characters"),
    (PATTERNS + f"          literals: [{'x' * 201}]\n", 9, "expected 1 to 200 printable"),
    (PATTERNS + '          literals: ["a\\u200b"]\n', 9, "expected 1 to 200 printable"),
    (PATTERNS + f"          regex: [{'x' * 1001}]\n", 9, "found 1001 characters"),
    (
        PATTERNS + f"          regex: [{', '.join(f'a{i}' for i in range(201))}]\n",
        7,
        "found 201 regular expressions at routes[0].detect.patterns; expected at most 200",
    ),
    (
        PATTERNS + f"          literals: [{', '.join(f'a{i}' for i in range(5001))}]\n",
        7,
        "found 5001 literals at routes[0].detect.patterns; expected at most 5000",
    ),
    (
        DETECT
        + "      patterns:\n"
        + "".join(f"        - {{name: p{i}, regex: [a]}}\n" for i in range(51)),
        7,
        "found 51 lists",
    ),
    (
        PATTERNS
        + "          regex:\n"
        + "".join(f"            - .{{100}}{i}\n" for i in range(25)),
        7,
        "instructions together at routes[0].detect.patterns; expected at most 20000",
    ),
    (
        PATTERNS + f"          literals: [{', '.join(f'{i}' + 'x' * 100 for i in range(1000))}]\n",
        7,
        "characters of literals at routes[0].detect.patterns; expected at most 100000",
    ),
    (
        PATTERNS
        + "          literals:\n"
        + "".join(f"            - '{e}'\n" for e in sorted(EMOJI)),
        7,
        "found more than one automaton can hold",
    ),
    (
        ROUTE + "    action: deny\n    detect: {special_tokens: deny}\n",
        7,
        "found detect beside action: deny",
    ),
]
IDENTITIES: list[tuple[str | bytes, int, str]] = [
    ("version: 1\ndefault: {}\nidentity: null\n", 3, "found null at identity; expected a list"),
    (SOURCE + "  - mtls\n", 4, 'found "mtls" at identity[0]; expected a mapping'),
    (SOURCE + "  - {}\n", 4, "found no key source at identity[0]"),
    (
        SOURCE + "  - source: cookie\n",
        4,
        'found "cookie" at identity[0].source; expected one of mtls, jwt, api_key, header',
    ),
    (SOURCE + "  - {source: mtls, name: x}\n", 4, "found an unknown key at identity[0].name"),
    (SOURCE + "  - source: mtls\n    header: x-a\n", 5, "found header beside source: mtls"),
    (SOURCE + "  - source: mtls\n    claim: [sub]\n", 5, "found claim beside source: mtls"),
    (SOURCE + "  - source: jwt\n", 4, "found no key claim beside source: jwt at identity[0]"),
    (SOURCE + "  - source: jwt\n    claim: []\n", 5, "found an empty list at identity[0].claim"),
    (SOURCE + '  - source: jwt\n    claim: [a, ""]\n', 5, 'found "" at identity[0].claim[1]'),
    (SOURCE + f"  - {{source: jwt, claim: [{'a, ' * 8}a]}}\n", 4, "found 9 names"),
    (SOURCE + '  - {source: jwt, claim: [a], namespace: ""}\n', 4, "expected printable text"),
    (SOURCE + "  - {source: jwt, claim: [a], header: x-a}\n", 4, "found header beside source: jwt"),
    (SOURCE + "  - source: api_key\n", 4, "found no key header beside source: api_key"),
    (
        SOURCE + "  - {source: api_key, header: x-a, namespace: ns}\n",
        4,
        "found namespace beside source: api_key",
    ),
    (SOURCE + "  - source: header\n", 4, "found no key header beside source: header"),
    (SOURCE + "  - source: mtls\n  - source: mtls\n", 5, "found the same source again"),
    (
        SOURCE + "".join(f"  - {{source: api_key, header: x-{i}}}\n" for i in range(9)),
        3,
        "found 9 sources at identity; expected at most 8",
    ),
    (
        HEAD + "  - name: a\n    match: {principals: [p]}\nidentity: []\n",
        5,
        "found principals beside identity: [] at routes[0].match.principals",
    ),
]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    YAML_TRICKS + WRONG_FIELDS + WITHOUT_MEANING + DETECTORS + IDENTITIES,
)
def test_a_mistake_is_refused_with_its_line(text: str | bytes, line: int, words: str) -> None:
    first, *_ = refused(text).split("\n")
    assert first.startswith(f"p.yaml:{line}: found ")
    assert words in first
    assert "; expected " in first


@pytest.mark.parametrize(
    "scalar",
    ["yes", "No", "on", "OFF", "y", "N", "True", "NULL", "Null", "~", "=", "1_000", "0x1F", "017",
     "0o17", "0b1", "12:30", "1:30:00", "1e3", "1.5E+3", ".5", "5.", "+1", ".inf", "-.INF", ".NaN",
     "2026-01-31", "2026-01-31 10:00:00", "9" * 30],
)  # fmt: skip
def test_a_scalar_that_two_yaml_readers_take_for_different_things_is_refused(scalar: str) -> None:
    assert f"p.yaml:4: found {scalar}, which YAML readers do not agree on" in refused(
        HEAD + f"  - {{name: a, match: {{principals: [{scalar}]}}}}\n"
    )
    quoted = parse((HEAD + f'  - {{name: a, match: {{principals: ["{scalar}"]}}}}\n').encode(), "p")
    assert quoted.routes[0].match.principals == (scalar,)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("hosts", host) for host in (
            "API.example.com", "api.example.com:443", "api.example.com.", "*", "*.", "a.*.com",
            "-a.com", "a..com", "a b", "", "[::01]", "[::1", "::1", "[10.0.0.7]", "bücher.example",
            "https://a.com", "x" * 64,
        )),
        *((key, path) for key in ("paths", "path_prefixes") for path in (
            "v1", "", "*", "/a/../b", "/a//b", "/a?b", "/a#b", "/%61", "/a%2fb", "/a;b", "/a\\b",
            "/.",
        )),
        *(("methods", method) for method in ("post", "", "PO ST", "*", "G\u212aT")),
        *(("principals", principal) for principal in ("", "\u200b")),
    ],
)  # fmt: skip
def test_a_pattern_that_no_call_could_match_is_refused(key: str, value: str) -> None:
    quoted = "'" + value.replace("'", "''") + "'"
    message = refused(HEAD + f"  - name: a\n    match:\n      {key}:\n        - {quoted}\n")
    assert message.startswith("p.yaml:7: found ")
    assert f"at routes[0].match.{key}[0]" in message


@pytest.mark.parametrize("rate", ["0", "-0.5", "1", "0.0", "1.5"])
def test_a_rate_of_false_positives_is_a_share_of_texts(rate: str) -> None:
    key = f"      prompt_injection:\n        false_positive_rate: {rate}\n"
    message = refused(DETECT + key)
    assert message.startswith("p.yaml:8: found ")
    assert message.endswith(
        " at routes[0].detect.prompt_injection.false_positive_rate; "
        "expected a share of honest texts, above 0 and below 1"
    )


@pytest.mark.parametrize("rate", ["0.0001", "0.999999", "null"])
def test_any_share_between_nobody_and_everybody_is_a_rate(rate: str) -> None:
    text = DETECT + f"      prompt_injection: {{false_positive_rate: {rate}}}\n"
    (rule,) = parse(text.encode(), "p").routes
    assert rule.false_positive_rate == (None if rate == "null" else float(rate))


def test_a_rate_beside_a_threshold_for_every_place_is_refused() -> None:
    thresholds = dict.fromkeys([one.value for one in Provenance], "0.5")
    one, *others = (f"{name}: {threshold}" for name, threshold in thresholds.items())
    text = (
        DETECT + "      prompt_injection:\n        false_positive_rate: 0.01\n        thresholds:\n"
    )
    rest = "".join(f"          {line}\n" for line in others)
    message = refused(text + rest + f"          {one}\n")
    assert message.startswith(
        "p.yaml:8: found false_positive_rate beside a threshold for everything"
    )
    assert parse((text + rest).encode(), "p").routes[0].false_positive_rate == 0.01


@pytest.mark.parametrize("reaction", ["deny", "flag", "ignore"])
def test_what_the_classifier_cannot_read_means_nothing_where_it_is_off(reaction: str) -> None:
    text = DETECT + f"      prompt_injection: null\n      unreadable: {reaction}\n"
    assert refused(text).startswith("p.yaml:8: found unreadable beside prompt_injection: null")


@pytest.mark.parametrize("threshold", ["0", "-0.5", "1.01", "2", "0.0"])
def test_a_threshold_is_above_zero_and_at_most_one(threshold: str) -> None:
    text = (
        ROUTE + f"    detect:\n      prompt_injection:\n        thresholds: {{user: {threshold}}}\n"
    )
    assert refused(text).startswith("p.yaml:8: found ")


@pytest.mark.parametrize(
    ("regex", "why"),
    [
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("(?=x)", "invalid perl operator: (?="),
        ("(?<!x)y", "invalid perl operator: (?<"),
        ("(?>x)", "invalid perl operator: (?>"),
        (r"x\Z", r"invalid escape sequence: \Z"),
        ("(", "missing ): ("),
        ("[z-a]", "invalid character class range: z-a"),
        (r"\p{Klingon}", r"invalid character class range: \p{Klingon}"),
        ("x**", "bad repetition operator: **"),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("(?:(?:a{100}){100}){100}", "invalid repetition size: {100}"),
        (r"\p{L}{20}", "which compiles to 23924 instructions"),
        (".{1000}", "which compiles to 8004 instructions"),
        ("", "matches between two characters"),
        ("x*", "matches between two characters"),
        (".*", "matches between two characters"),
        ("^", "matches between two characters"),
        ("(?m)$", "matches between two characters"),
        (r"\b", "matches between two characters"),
        (r"secret|\B", "matches between two characters"),
        (r"secret|\z", "matches between two characters"),
    ],
)
def test_a_regex_that_cannot_be_used_is_refused_with_the_reason(regex: str, why: str) -> None:
    message = refused(PATTERNS + f"          regex:\n            - fine\n            - '{regex}'\n")
    assert message.startswith("p.yaml:11: found ")
    assert why in message
    assert "at routes[0].detect.patterns[0].regex[1]" in message


@pytest.mark.parametrize(
    "regex",
    [
        r"(?i)ignore\s+(all\s+)?previous", r"\b\d{3}-\d{2}-\d{4}\b", r"(a+)+$", "[^\"#:]{2}", "#no",
        r"\Qa.b\E", "^begin", "end$", "(?P<name>a)", "a|b|c", r"\p{Greek}+", "&x", "x: y",
    ],
)  # fmt: skip
def test_a_natural_regex_in_single_quotes_is_read_as_it_is(regex: str) -> None:
    text = PATTERNS + f"          regex: ['{regex}']\n"
    policy = parse(text.encode(), "p")
    assert policy.routes[0].detect.patterns[0].regex == (regex,)


def test_patterns_are_compiled_before_any_call_needs_them() -> None:
    policy = parse((PATTERNS + "          regex: [a]\n").encode(), "p")
    assert "pattern_set" in vars(policy.routes[0].detect)


@pytest.mark.parametrize("off", ["prompt_injection: null", "special_tokens: ignore"])
def test_one_detector_is_enough(off: str) -> None:
    assert parse((DETECT + f"      {off}\n").encode(), "p").routes[0].action is Action.INSPECT


def test_a_pattern_alone_is_a_detector() -> None:
    text = PATTERNS + (
        "          literals: [orion]\n      prompt_injection: null\n      hidden_text: ignore\n"
        "      special_tokens: ignore\n      role_lookalikes: ignore\n"
        "      chat_template: ignore\n      many_shot: {reaction: ignore}\n"
    )
    (patterns,) = parse(text.encode(), "p").routes[0].detect.patterns
    assert patterns.reaction is Reaction.DENY


@pytest.mark.parametrize("source", ["api_key", "header"])
@pytest.mark.parametrize("header", ["X-Key", "", "a b", ":path", "x-extauthz-principal", "é"])
def test_an_identity_header_is_one_that_can_exist_and_is_not_ours(source: str, header: str) -> None:
    text = SOURCE + f'  - {{source: {source}, header: "{header}"}}\n'
    assert refused(text).startswith("p.yaml:4: found ")


@pytest.mark.parametrize(
    "header", ["authorization", "x-api-key", "cookie", "x-forwarded-for", "x-request-id", "host"]
)
def test_a_header_that_clients_write_names_nobody(header: str) -> None:
    assert "expected a lower-case header that Envoy overwrites" in refused(
        SOURCE + f"  - {{source: header, header: {header}}}\n"
    )


def test_without_identity_nobody_is_known() -> None:
    assert parse(b"version: 1\ndefault: {}\nidentity: []\n", "p").identity == ()


@pytest.mark.parametrize("key", ["set_headers", "response_headers"])
@pytest.mark.parametrize(
    "name",
    ["X-Checked", "", "a b", "a:b", ":path", ":status", "host", "content-length", "transfer-encoding",
     "connection", "keep-alive", "te", "trailer", "upgrade", "proxy-authorization", "proxy-connection",
     "x-envoy-original-path", "x-extauthz-reason", "é", "a\\r\\nb"],
)  # fmt: skip
def test_a_header_that_is_not_ours_to_change_is_refused(key: str, name: str) -> None:
    message = refused(MUTATE + f'      {key}:\n        "{name}": "1"\n')
    assert message.startswith("p.yaml:8: found ")


@pytest.mark.parametrize("key", ["set_headers", "response_headers"])
@pytest.mark.parametrize("value", ["a\\nb", "a\\r\\nb: c", "\\0", "é", " a", "a ", "x" * 257])
def test_a_header_value_that_could_become_something_else_is_refused(key: str, value: str) -> None:
    assert refused(MUTATE + f'      {key}:\n        a: "{value}"\n').startswith("p.yaml:8: found ")


@pytest.mark.parametrize("value", ["", "a", "a b", "~" * 256])
def test_a_printable_header_value_is_accepted(value: str) -> None:
    policy = parse((MUTATE + f'      set_headers:\n        a: "{value}"\n').encode(), "p")
    assert policy.routes[0].mutate is not None
    assert policy.routes[0].mutate.set_headers == {"a": value}


@pytest.mark.parametrize(("name", "value"), [("a&b", "1"), ("a=b", "1"), ("", "1"), ("a", "1&b=2"),
                                             ("a", "x y"), ("a", "#"), ("a", "%"), ("a", "é")])  # fmt: skip
def test_a_query_parameter_that_would_become_two_is_refused(name: str, value: str) -> None:
    assert refused(MUTATE + f'      set_query:\n        "{name}": "{value}"\n').startswith(
        "p.yaml:8:"
    )


@pytest.mark.parametrize(
    ("earlier", "later", "hidden"),
    [
        ({"paths": ["/a"]}, {"paths": ["/a"]}, True),
        ({"paths": ["/a"]}, {"paths": ["/a", "/b"]}, False),
        ({"paths": ["/b", "/a"]}, {"paths": ["/a"]}, True),
        ({"path_prefixes": ["/a"]}, {"paths": ["/a/b"]}, True),
        ({"path_prefixes": ["/a"]}, {"paths": ["/ab"]}, False),
        ({"path_prefixes": ["/a"]}, {"path_prefixes": ["/a/b"]}, True),
        ({"path_prefixes": ["/"]}, {"path_prefixes": ["/a"]}, True),
        ({"paths": ["/a"]}, {"path_prefixes": ["/a"]}, False),
        ({"path_prefixes": ["/a/b"]}, {"path_prefixes": ["/a"]}, False),
        ({"path_prefixes": ["/a"]}, {"methods": ["GET"]}, False),
        ({"methods": ["GET"]}, {"paths": ["/a"], "methods": ["GET"]}, True),
        ({"methods": ["GET"]}, {"paths": ["/a"]}, False),
        ({"methods": ["GET"]}, {"methods": ["GET", "HEAD"]}, False),
        ({"hosts": ["*.a.com"]}, {"hosts": ["b.a.com"]}, True),
        ({"hosts": ["*.a.com"]}, {"hosts": ["*.b.a.com"]}, True),
        ({"hosts": ["*.a.com"]}, {"hosts": ["a.com"]}, False),
        ({"hosts": ["*.b.a.com"]}, {"hosts": ["*.a.com"]}, False),
        ({"hosts": ["a.com"]}, {"paths": ["/a"]}, False),
        ({"principals": ["p"]}, {"principals": ["p"], "hosts": ["a.com"]}, True),
        ({"context": {"a": "b"}}, {"context": {"a": "b", "c": "d"}}, True),
        ({"context": {"a": "b", "c": "d"}}, {"context": {"a": "b"}}, False),
        ({"context": {"a": "b"}}, {"context": {"a": "c"}}, False),
    ],
)
def test_a_route_that_an_earlier_one_hides_is_refused(
    earlier: dict[str, Any], later: dict[str, Any], hidden: bool
) -> None:
    text = HEAD + f"  - name: first\n    match: {earlier}\n  - name: second\n    match: {later}\n"
    if hidden:
        assert refused(text).startswith('p.yaml:7: found nothing left to match: "first"')
    else:
        assert len(parse(text.encode(), "p").routes) == 2


def test_every_mistake_of_a_kind_is_told_in_the_order_of_the_lines() -> None:
    message = refused(ROUTE + "    shadow: 1\n    on_failure: x\n  - match: 5\n")
    assert [line.split(":")[1] for line in message.split("\n")] == ["6", "7", "8", "8"]


def test_a_file_full_of_mistakes_gives_a_short_message() -> None:
    message = refused("version: 1\n" + "".join(f"x{i}: no\n" for i in range(1000)))
    assert len(message.split("\n")) == 21
    assert message.endswith("and 980 more")


def test_a_message_is_one_printable_line_for_each_mistake() -> None:
    message = refused('version: 1\ndefault: {}\n"a\\n\\u202eb%s": 1\n' % ("x" * 5000))
    assert message.isprintable()
    assert len(message) < 500


def test_a_policy_is_loaded_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(GOLDEN)
    assert load(file) == parse(GOLDEN.encode(), "another name")


def test_the_message_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\n")
    with pytest.raises(PolicyError, match=r"policy\.yaml:1: found no key default") as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}:1: ")


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_a_policy_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(PolicyError, match=":1: found that it cannot be read"):
        load(tmp_path / name)


SHIPPED = Path(extauthz.__file__).parent / "default_policy.yaml"


@pytest.mark.parametrize("name", sdk_calls())
def test_the_shipped_policy_inspects_what_sdks_send(name: str) -> None:
    rule = load(SHIPPED).match(sdk_call(name), sdk_path(name))

    # vLLM's own endpoint takes nothing but token ids, and is left out.
    assert rule.action is (Action.DENY if name == "vllm_generate" else Action.INSPECT)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/realtime"),
        ("POST", "/v1/chat/completionsX"),
        ("POST", "/v1/chat/completions/x"),
        ("POST", "/v2/chat/completions"),
        ("DELETE", "/v1/files/file-1"),
        ("GET", "/v1betaX"),
        ("GET", "/metrics"),
        ("CONNECT", "/v1/chat/completions"),
    ],
)
def test_the_shipped_policy_denies_what_nobody_thought_of(method: str, path: str) -> None:
    assert load(SHIPPED).match(builders.call(method=method), path).action is Action.DENY


def test_the_shipped_policy_lets_nothing_pass_on_failure() -> None:
    policy = load(SHIPPED)

    assert {rule.on_failure for rule in (*policy.routes, policy.default)} == {OnFailure.DENY}


def accepted_or_refused(data: bytes) -> None:
    try:
        policy = parse(data, "p.yaml")
    except PolicyError:
        return
    assert isinstance(policy, Policy)


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf")
@example(b"? " * 100)
@example(b"- " * 5000)
@example(b"[" * 100_000)
@example(b"{a: " * 5000)
@example(b'"\\ud800": "\\ud800"')
def test_bytes_are_a_policy_or_a_policy_error(data: bytes) -> None:
    accepted_or_refused(data)


@given(st.data())
def test_a_damaged_policy_is_a_policy_or_a_policy_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(GOLDEN)))
    end = data.draw(st.integers(start, min(start + 9, len(GOLDEN))))
    alphabet = st.sampled_from("&*!<>{}[]:,-#|?%@`'\" \n\tnoyes01./\u2028é~")
    middle = data.draw(st.text(alphabet, max_size=9))
    accepted_or_refused((GOLDEN[:start] + middle + GOLDEN[end:]).encode())


DOCUMENT = (Path(__file__).parents[1] / "docs" / "policy.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def completed(example: str) -> bytes:
    """An example as a whole file: what is no file yet is a part of one, or of its only route."""
    if not example.startswith(("version:", "default:", "identity:", "tenant:", "budgets:")):
        match = "" if example.startswith("match:") else "match: {paths: [/]}\n"
        route = "name: a\n" + match + example
        example = "routes:\n  -\n" + "".join(f"    {line}\n" for line in route.splitlines())
    head = "" if re.search("^version:", example, re.MULTILINE) else "version: 1\n"
    tail = "" if re.search("^default:", example, re.MULTILINE) else "default: {action: deny}\n"
    return (head + example + tail).encode()


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_reference_can_be_used(example: str) -> None:
    parse(completed(example), "docs/policy.md")


def test_the_reference_shows_the_defaults_as_they_are() -> None:
    (written,) = (example for example in EXAMPLES if example.startswith("default:"))
    rule = parse(completed(written), "docs/policy.md").default
    default = Rule()
    assert msgspec.structs.replace(rule.detect, uninspected={}) == default.detect
    assert rule.detect.uninspected == {kind: default.detect.on_opaque(kind) for kind in Opaque}
    assert msgspec.structs.replace(rule, detect=default.detect) == default


@pytest.mark.parametrize(
    "struct",
    [
        Match, Rule, Detect, Views, ManyShot, Patterns, PromptInjection, Limits, Mutate, Identity,
        Budgets, Limit, Model, Price, Settle,
    ],
)  # fmt: skip
def test_every_key_is_in_the_reference_with_an_example(struct: type[msgspec.Struct]) -> None:
    keys = set(struct.__struct_fields__)
    shown = set(re.findall(r"(\w+):", " ".join(EXAMPLES)))
    assert keys <= shown

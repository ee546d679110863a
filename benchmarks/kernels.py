"""What each Numba kernel saves: CPU time per call beside plain Python and NumPy, by input size.

The Python beside a kernel is what one would write without it; of the kernels that decode it is
their twin in tests/reference, up to the size that would take it long.

A kernel is worth its compiler only where it beats both. `wins from` is the smallest n measured
from which it stays ahead; n counts what the kernel loops over.
"""

import math
import random
import re
import time
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from benchmarks import kernels_of_views
from benchmarks.contest import Contest, Run
from benchmarks.environment import print_table, save
from extauthz.core.views import letters, normalised
from extauthz_kernels import (
    cap_runs,
    estimate_tokens,
    fold,
    fold_words,
    join_spelled,
    json_members,
    json_shape,
    map_points,
    pack_windows,
    percent_decode,
    worst_windows,
)
from extauthz_kernels import ledger as budgets
from tests.reference import fold as twin
from tests.reference import ledger, members, percent
from tests.reference import tokens as charged

_SIZES = (10, 100, 1_000, 10_000, 100_000)
_ROUNDS = 5
_ROUND_S = 0.004
#: Python that took longer is not asked for ten times as much.
_MOST_PYTHON_US = 50_000
_WINDOW = 128
_LIMIT = 30
_STRING = re.compile(rb'"(?:\\.|[^"\\])*+"?')
_STEPS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


def pack(n: int) -> Contest:
    """A batch: n token ids in ragged windows of up to 128."""
    rng = random.Random(0)
    ids, offsets = list(range(n)), [0]
    while offsets[-1] < n:
        offsets.append(min(n, offsets[-1] + rng.randint(1, _WINDOW)))
    windows = len(offsets) - 1
    flat, ends = np.array(ids, np.int32), np.array(offsets, np.int64)
    lengths = np.diff(ends)
    longest = int(lengths.max())
    input_ids, mask = np.zeros((2, windows, longest), np.int64)

    def plain() -> object:
        rows = [ids[a:b] for a, b in pairwise(offsets)]
        padded = [row + [0] * (longest - len(row)) for row in rows]
        masks = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        return np.array(padded, np.int64), np.array(masks, np.int64)

    def vectorised() -> None:
        real = np.arange(longest) < lengths[:, None]
        input_ids.fill(0)
        input_ids[real] = flat
        mask[:] = real

    return Contest(lambda: pack_windows(flat, ends, 0, input_ids, mask), plain, vectorised)


def shape(n: int) -> Contest:
    """A chat body of about n bytes."""
    message = b'{"role":"user","content":"The garden was \\"quiet\\" in the morning."},'
    body = (b'{"messages":[' + message * (n // len(message) + 1))[:n]
    out = np.zeros(2, np.int64)
    steps = np.zeros(256, np.int64)
    counts = np.zeros(256, np.int64)
    for char, step in _STEPS.items():
        steps[ord(char)] = step
        counts[ord(char)] = step > 0
    counts[ord(",")] = 1

    def plain() -> object:
        outside = _STRING.sub(b"", body)
        depth = max(
            accumulate((_STEPS.get(outside[i : i + 1], 0) for i in range(len(outside))), initial=0)
        )
        return depth, sum(map(outside.count, (b"[", b"{", b",")))

    def vectorised() -> object:
        outside = np.frombuffer(_STRING.sub(b"", body), np.uint8)
        return np.cumsum(steps[outside]).max(initial=0), counts[outside].sum()

    return Contest(lambda: json_shape(np.frombuffer(body, np.uint8), out), plain, vectorised)


def cap(n: int) -> Contest:
    """A text: n code points, half of them in runs of 50 marks."""
    marks = np.zeros(0x370, np.uint8)
    marks[0x300:] = 1
    values = ([0x61] * 50 + [0x301] * 50) * (n // 100 + 1)
    values = values[:n]
    points = np.array(values, np.uint32)
    kept = np.empty_like(points)

    def plain() -> object:
        result, run = [], 0
        for point in values:
            run = run + 1 if 0x300 <= point < 0x370 else 0
            if run <= _LIMIT:
                result.append(point)
        return result

    def vectorised() -> object:
        is_mark = marks[np.minimum(points, 0x36F)] == 1
        index = np.arange(len(points))
        last_letter = np.maximum.accumulate(np.where(is_mark, -1, index))
        return points[index - last_letter <= _LIMIT]

    return Contest(lambda: cap_runs(points, marks, _LIMIT, kept), plain, vectorised)


def worst(n: int) -> Contest:
    """A batch: n windows of a three-label head, four to a text."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 3)).astype(np.float32)
    rows = logits.tolist()
    malicious = np.array([0, 1, 1], np.uint8)
    owners = np.arange(n) // 4
    owner_list = owners.tolist()
    scores = np.full(n // 4 + 1, -1.0)

    def plain() -> object:
        result = [-1.0] * len(scores)
        for row, owner in zip(rows, owner_list, strict=True):
            largest = max(row)
            weights = [math.exp(logit - largest) for logit in row]
            result[owner] = max(result[owner], (weights[1] + weights[2]) / sum(weights))
        return result

    def vectorised() -> None:
        weights = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
        found = weights[:, malicious == 1].sum(axis=1) / weights.sum(axis=1)
        np.maximum.at(scores, owners, found)

    return Contest(lambda: worst_windows(logits, malicious, owners, scores), plain, vectorised)


def reveal(n: int) -> Contest:
    """A text of n characters, every tenth one invisible."""
    text = ("ignoreall\u200b" * (n // 10 + 1))[:n]
    points = np.array(list(map(ord, text)), np.uint32)
    become = np.arange(0x3000, dtype=np.uint32)
    become[0x200B] = fold.DROP
    kept = np.empty_like(points)
    table = {0x200B: None}
    return Contest(
        lambda: map_points(points, become, kept),
        lambda: text.translate(table),
        lambda: points[become[points] != fold.DROP],
    )


def disguise(n: int) -> Contest:
    """A text of n characters in words of lookalikes, beside the regular expression."""
    text = ("іgnоrе аll " * (n // 11 + 1))[:n]
    points, folded = np.array(list(map(ord, text)), np.uint32), np.empty(n, np.uint32)
    kinds, latin = normalised._KINDS, normalised._LATIN_TWINS
    table = dict(zip(letters.LOOKALIKES, letters.LATIN, strict=True))
    others = set(filter(lambda char: "\u0370" <= char <= "\u052f", table))
    return Contest(
        lambda: fold_words(points, kinds, latin, 4, folded),
        lambda: twin.fold_words(text, table, others, r"[\w\u0300-\u036f]", 4),
        None,
    )


def spell(n: int) -> Contest:
    """A text of n characters, half of it spelled letter by letter, beside the regular expression."""
    text = ("i g n o r e  what was said " * (n // 26 + 1))[:n]
    points, joined = np.array(list(map(ord, text)), np.uint32), np.empty(n, np.uint32)
    return Contest(
        lambda: join_spelled(points, normalised._KINDS, 5, joined),
        lambda: twin.join_spelled(text, 5),
        None,
    )


def members_of(n: int) -> Contest:
    """A JSON body of about n bytes, most of it keys."""
    body = b"[" + b",".join([b'{"name":1,"size":2}'] * max(1, n // 20)) + b"]"
    octets, colons = np.frombuffer(body, np.uint8), body.count(b":")
    owners, facts = np.empty(9, np.int64), np.empty(2, np.int64)
    keys, digests = np.empty((colons, 4), np.int32), np.empty(colons, np.int64)
    return Contest(
        lambda: json_members(octets, owners, keys, digests, facts),
        lambda: members.objects_of(body),
        None,
    )


def percents(n: int) -> Contest:
    """A query of n bytes, a third of it escapes."""
    query = (b"a%20garden%2Cquiet" * (n // 18 + 1))[: n // 18 * 18]
    octets, out = np.frombuffer(query, np.uint8), np.empty(len(query), np.uint8)
    return Contest(lambda: percent_decode(octets, out), lambda: percent.percent_decode(query), None)


def tokens_of(n: int) -> Contest:
    """A text of about n bytes in three scripts, beside the twin, which reads runs with one expression."""
    text = ("A quiet garden, 25 roses; тихий сад. 静かな庭\n".encode() * (n // 60 + 1))[:n]
    octets = np.frombuffer(text, np.uint8)
    return Contest(lambda: estimate_tokens(octets), lambda: charged.estimate_tokens(text), None)


def reserve_all(n: int) -> Contest:
    """Requests of n principals, each under a rate and a month, reserved and settled."""
    limits = [
        ledger.Limit(salt, 1, ledger.INPUT, kind, 2, 10**9, interval=0.5)
        for salt, kind in ((-3, ledger.RATE), (-5, ledger.WINDOW))
    ]
    rows = np.array([[one.salt, 1, 1, one.kind, 2, one.amount, 0, 0] for one in limits], np.int64)
    asked = np.zeros((n, 16), np.int64)
    # Id, limits, a deadline that has passed at the next call, principal, usage.
    asked[:, 0] = asked[:, 6] = np.random.default_rng(0).integers(1, 2**62, n)
    asked[:, 1:4], asked[:, 10:12] = (0, 2, 1), (1, 9)
    told = np.zeros((n, 4), np.int64)
    told[:, 0], told[:, 2] = asked[:, 0], 5
    slots = 4 << n.bit_length()
    counters = np.zeros((slots + budgets.SHARED, budgets.COUNTER_COLUMNS), np.int64)
    heads = np.zeros((slots, budgets.HEAD_COLUMNS), np.int64)
    items = np.zeros((slots, budgets.ROWS, budgets.ITEM_COLUMNS), np.int64)
    state, journal = (counters, heads, items), np.zeros(budgets.JOURNAL, np.int64)
    keys, missing = np.zeros((2, n, budgets.ROWS), np.int64)
    answers, results = np.zeros((n, 6), np.int64), np.zeros((n, 4), np.int64)
    calendar = [(1, 2**62)] * 3
    ends, intervals = np.array(calendar), np.array([one.interval for one in limits])
    clock, slow = [1], ledger.Ledger(limits)
    requests = [
        ledger.Request(one[0], 0, 2, 1, 0, 0, tuple(one[6:10]), tuple(one[10:]))
        for one in asked.tolist()
    ]

    def kernel() -> None:
        now = clock[0] = clock[0] + 9
        budgets.reserve(*state, rows, intervals, asked, ends, now, answers, keys, missing, journal)
        budgets.settle(*state, told, now, results, journal)

    def plain() -> None:
        now = clock[0] = clock[0] + 9
        for request in requests:
            slow.reserve(request, calendar, now)
            slow.settle(request.id, ledger.USED, 5, 0, now)

    return Contest(kernel, plain, None)


_CONTESTS = {
    "pack_windows": pack,
    "json_shape": shape,
    "cap_runs": cap,
    "map_points": reveal,
    "fold_words": disguise,
    "join_spelled": spell,
    "worst_windows": worst,
    "json_members": members_of,
    "percent_decode": percents,
    "estimate_tokens": tokens_of,
    "ledger.reserve, settle": reserve_all,
    "join_symbols": kernels_of_views.symbols,
    "longest_spelling": kernels_of_views.spelling,
    "fold_flags": kernels_of_views.flags,
    "turn_words": kernels_of_views.turn,
    "visual_order": kernels_of_views.visual,
    "survey_hidden": kernels_of_views.channels,
    "hidden_runs": kernels_of_views.said_by_selectors,
    "unescape": kernels_of_views.escaped,
    "decode_groups": kernels_of_views.grouped,
    "decode_codes": kernels_of_views.coded,
    "cipher_runs": kernels_of_views.ciphered,
    "word_stream": kernels_of_views.streamed,
    "long_words": kernels_of_views.long,
    "changed_places": kernels_of_views.changed,
}


def cpu_us(run: Run) -> float:
    """CPU microseconds of one call: the best round, so that other work on the machine is not in it."""
    run()
    calls = 1
    while (spent := _round(run, calls)) < _ROUND_S:
        calls *= 2
    return min(spent, *(_round(run, calls) for _ in range(_ROUNDS))) / calls * 1e6


def _round(run: Run, calls: int) -> float:
    start = time.thread_time()
    for _ in range(calls):
        run()
    return time.thread_time() - start


def wins_from(times: Sequence[dict[str, float]]) -> int | None:
    """Smallest n from which the kernel is the fastest at every larger n too."""
    first = None
    for row in times:
        ahead = row["kernel_us"] == min(row[way] for way in row if way.endswith("_us"))
        first = (first or int(row["n"])) if ahead else None
    return first


def main() -> None:
    results = {}
    table = []
    for name, contest in _CONTESTS.items():
        times: list[dict[str, float]] = []
        for n in _SIZES:
            ways = contest(n)
            row = {"kernel_us": cpu_us(ways.kernel)}
            if not times or times[-1].get("python_us", math.inf) < _MOST_PYTHON_US:
                row["python_us"] = cpu_us(ways.python)
            if ways.numpy is not None:
                row["numpy_us"] = cpu_us(ways.numpy)
            times.append({"n": n} | {way: round(us, 2) for way, us in row.items()})
            shown = [f"{us:,.1f}" for us in row.values()]
            table.append([f"{name} n={n:,}", *shown, *["-"] * (3 - len(shown))])
        results[name] = {"wins_from_n": wins_from(times), "times": times}
    print_table(["CPU µs per call", "kernel", "Python", "NumPy"], table)
    print()
    print_table(["kernel", "wins from n"], [[k, str(r["wins_from_n"])] for k, r in results.items()])
    save("kernels", {"kernels": results}, ["numba", "numpy", "extauthz"])


if __name__ == "__main__":
    main()

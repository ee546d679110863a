"""How near `estimate_tokens` comes to two real vocabularies, by kind of text, and what it costs.

Every text is counted by tiktoken with cl100k_base and with o200k_base, which is no dependency of the
project. Into an environment of its own, or beside this one:

    pip install tiktoken
    python -m benchmarks.token_estimate

tiktoken fetches its two files on first use; `--vocabularies DIR` takes them from a folder instead,
where they have the names that tiktoken gives them in its cache (the wheel of litellm has such a one).

Seeds, sources and requests are cut or joined to a few hundred characters. Every second one was
fitted to, the others are what is reported, and so it is with what is generated; of the kinds called
unseen nothing was fitted to. `--fit` prints the
tables of the kernel instead of measuring it; `--translations DIR` adds the .po files below DIR (the
wheel of Django has them in a hundred languages), without which few scripts have any text.
"""

import argparse
import base64
import importlib
import json
import os
import random
import re
import sysconfig
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from pydoc_data import topics
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.environment import print_table, save
from extauthz.training.corpus import seeds
from extauthz_kernels import estimate_tokens, tokens
from tests.fixtures import sdk_call, sdk_calls
from tests.reference import tokens as twin

_ROOT: Final = Path(__file__).parent.parent
_VOCABULARIES: Final = ("cl100k_base", "o200k_base")
#: Characters of a text: seeds are joined until they have so many, files are cut to so many.
_LEAST, _MOST = 300, 800
#: Not among the texts, so that the tables are not fitted to themselves.
_THIS: Final = ("token_estimate.py", "tokens.py", "test_tokens.py")
_SIGNS: Final = "".join(char for char in map(chr, range(33, 127)) if not char.isalnum())
_LOWER: Final = "abcdefghijklmnopqrstuvwxyz"
_TIMED_BYTES, _ROUNDS, _ROUND_S = 4096, 31, 0.004
#: Fitted to so much above the geometric mean, because what is estimated too low is not paid for.
_MARGIN: Final = 1.03
#: Of one cost, in tokens: the most that a digit of base 36 can say.
_MOST_COST: Final = 35 / tokens.UNIT
#: How strongly a cost is drawn to its guess; the texts of a kind weigh 1 together.
_FAITH: Final = 1e-5
_SWEEPS: Final = 400

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Text:
    """A text, its kind, what a vocabulary makes of it, and how much the fit heeds its kind."""

    kind: str
    text: str
    counts: tuple[int, ...]
    weight: float


def vocabularies(folder: Path | None) -> dict[str, Count]:
    """How many tokens a text is in each vocabulary. tiktoken has no stubs and is not installed."""
    if folder is not None:
        os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        tiktoken: Any = importlib.import_module("tiktoken")
    except ModuleNotFoundError as error:
        raise SystemExit("tiktoken is needed, and no dependency: pip install tiktoken") from error

    def count_of(name: str) -> Count:
        encode = tiktoken.get_encoding(name).encode_ordinary
        return lambda text: len(encode(text))

    return {name: count_of(name) for name in _VOCABULARIES}


def prose() -> dict[str, list[str]]:
    """The seeds by language, those in English by label too."""
    texts = defaultdict(list)
    for row in seeds():
        label = " attack" if row.label else " honest"
        texts[row.lang + (label if row.lang == "en" else "")].append(row.text)
    return {kind: _joined(those) for kind, those in sorted(texts.items())}


def written() -> dict[str, list[str]]:
    """Code, configuration, documents and JSON."""
    paths = sysconfig.get_paths()
    corpus = _ROOT / "extauthz" / "training" / "corpus"
    ours = [
        path
        for folder in ("benchmarks", "docs", "envoy", "extauthz", "kernels", "tests")
        for path in sorted((_ROOT / folder).rglob("*"))
        if corpus not in path.parents and path.name not in _THIS
    ]
    bodies = [sdk_call(name).body.decode(errors="ignore") for name in sdk_calls()]
    plain = [body for body in bodies if body.startswith(("{", "[")) and "\ufffd" not in body]
    return {
        "Python, ours": _cut(path for path in ours if path.suffix == ".py"),
        "Python, standard library": _cut(sorted(Path(paths["stdlib"]).glob("*.py")))[::3],
        "C headers": _cut(sorted(Path(paths["include"]).rglob("*.h")))[::2],
        "YAML": _cut(path for path in ours if path.suffix == ".yaml"),
        "Markdown": _cut(path for path in ours if path.suffix == ".md"),
        "JSON": [body[:2000] for body in (*plain, *map(_indented, plain)) if len(body) > 200],
    }


def unseen() -> dict[str, list[str]]:
    """What was not fitted to in any part."""
    about = [package.read_text("METADATA") or "" for package in distributions()]
    return {
        "unseen: descriptions of packages": _cut_all(
            sorted({text.partition("\n\n")[2] for text in about})
        ),
        "unseen: the help of Python": _cut_all(topics.topics.values()),
    }


def generated() -> dict[str, list[str]]:
    """What nobody wrote."""
    rng = random.Random(0)

    def chars(alphabet: str) -> str:
        return "".join(rng.choices(alphabet, k=400))

    return {
        "base64": [base64.b64encode(rng.randbytes(300)).decode() for _ in range(60)],
        "hexadecimal": [rng.randbytes(200).hex() for _ in range(60)],
        "digits": [chars("0123456789") for _ in range(40)],
        "numbers": [
            "\n".join(",".join(f"{rng.gauss(0, 10):.3f}" for _ in range(6)) for _ in range(12))
            for _ in range(40)
        ],
        "random letters": [chars(_LOWER) for _ in range(60)],
        "random capitals": [chars(_LOWER.upper()) for _ in range(40)],
        "random words": [chars(_LOWER + "    ") for _ in range(60)],
        "random signs": [chars(_SIGNS) for _ in range(60)],
        "random emoji": [
            "".join(chr(rng.randrange(0x1F300, 0x1F650)) for _ in range(100)) for _ in range(40)
        ],
    }


def repeated() -> dict[str, str]:
    """One thing over and over: what an estimate by runs is most easily misled by."""
    units = ("a", "z", "A", "!", "-", '"', "1", " ", "\n", " \n", "\r\n", "ha", "the", "ation",
             "na ", "test ", "{}", "и", "你", "😀")  # fmt: skip
    return {json.dumps(unit, ensure_ascii=False): unit * (600 // len(unit)) for unit in units}


def translated(folder: Path) -> dict[str, list[str]]:
    """The translations below a folder, by language."""
    texts = defaultdict(list)
    for path in sorted(folder.rglob("*.po")):
        for found in re.findall(
            r'^msgstr(?:\[\d\])? ((?:".*"\n)+)', path.read_text("utf-8"), re.MULTILINE
        ):
            said = "".join(line[1:-1] for line in found.splitlines())
            if said and "Content-Type" not in said:
                texts[path.parts[-3]].append(said.replace("\\n", "\n").replace('\\"', '"'))
    kinds = {f"translations, {language}": _joined(those) for language, those in texts.items()}
    return {kind: those for kind, those in kinds.items() if len(those) > 4}


def _joined(texts: Iterable[str]) -> list[str]:
    result, held = [], ""
    for text in texts:
        held = f"{held}\n\n{text}" if held else text
        if len(held) >= _LEAST:
            result.append(held[:2000])
            held = ""
    return result


def _cut(paths: Iterable[Path]) -> list[str]:
    return _cut_all(path.read_text("utf-8", errors="ignore") for path in paths)


def _cut_all(texts: Iterable[str]) -> list[str]:
    return [text[at : at + _MOST] for text in texts for at in range(0, len(text) - _LEAST, _MOST)]


def _indented(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:  # several texts, one a line
        return ""


def counted(counts: Sequence[Count], translations: Path | None) -> tuple[list[Text], list[Text]]:
    """The texts that are fitted to, and those that are reported."""
    kinds = [(prose() | written(), 1.0), (generated(), 0.5), (unseen(), 0.0)]
    if translations is not None:
        kinds.append((translated(translations), 0.3))
    halves: tuple[list[Text], list[Text]] = ([], [])
    for texts, weight in kinds:
        for kind, those in texts.items():
            for number, text in enumerate(those):
                found = tuple(count(text) for count in counts)
                one = Text(kind, text, found, weight / len(those) ** 0.5)
                halves[number % 2 if weight else 1].append(one)
    return halves


def fit(texts: Sequence[Text], counts: Sequence[Count]) -> dict[twin.Charge, float]:
    """The cost of every charge in tokens, by least squares of the relative error.

    What no text has stays at what `_guess` says, which the others are drawn to very weakly.
    """
    uses = [Counter(map(_plain, twin.charges(text.text))) for text in texts]
    charges = _all_charges()
    column = {charge: number for number, charge in enumerate(charges)}
    used = np.zeros((len(texts), len(charges)))
    for row, of_text in enumerate(uses):
        for charge in of_text.keys() & column.keys():
            used[row, column[charge]] = of_text[charge]
    wanted = np.array([_MARGIN * np.prod(text.counts) ** (1 / len(counts)) for text in texts])
    weights = np.array([text.weight for text in texts])
    used *= (weights / wanted)[:, None]
    guesses = np.array([_guess(charge, counts) for charge in charges])
    bounds = np.array(
        [_bounds(charge, guess) for charge, guess in zip(charges, guesses, strict=True)]
    )
    gram = used.T @ used + _FAITH * np.eye(len(charges))
    costs = _bounded(gram, used.T @ weights + _FAITH * guesses, bounds, guesses)
    return dict(zip(charges, costs.tolist(), strict=True))


def _bounded(
    gram: NDArray[Any], target: NDArray[Any], bounds: NDArray[Any], start: NDArray[Any]
) -> NDArray[Any]:
    """The x within bounds for which x' gram x / 2 - target' x is least: one x after the other."""
    x: NDArray[Any] = np.clip(start, bounds[:, 0], bounds[:, 1])
    slope = gram @ x - target
    for _ in range(_SWEEPS):
        for at in range(len(x)):
            best = x[at] - slope[at] / gram[at, at]
            step = min(max(best, bounds[at, 0]), bounds[at, 1]) - x[at]
            if step:
                slope += gram[at] * step
                x[at] += step
    return x


_OTHERS: Final = (*("SHOUT", "HUMP", "BREAK", "ENDING", "INDENT", "LONE", "WIDE", "TURN", "GROUP"),)
_FIXED: Final = {"WIDE": 1.0, "GROUP": _MARGIN}


def _all_charges() -> list[twin.Charge]:
    places = range(29)
    return [
        *(("others", name) for name in _OTHERS),
        *(("pairs", row, letter) for row in places for letter in places if letter),
        *(("signs", row, ord(sign)) for row in range(4) for sign in _SIGNS),
        *(("script", script, first) for script in range(len(tokens.SCRIPTS)) for first in (0, 1)),
    ]


def _plain(charge: twin.Charge) -> twin.Charge:
    match charge:
        case "late", before, letter:
            return "pairs", before, int(letter)
    return charge


def _guess(charge: twin.Charge, counts: Sequence[Count]) -> float:
    """A cost before anything is known of it but the vocabularies."""
    match charge:
        case "others", name:
            return _FIXED.get(str(name), 0.3)
        case "script", script, _:
            chars = _some_of(int(script))
        case "signs", 3, sign:
            chars = chr(sign) * 200
        case "signs", _, _:
            return 0.8
        case _:
            return 0.35
    return float(np.prod([count(chars) / len(chars) for count in counts]) ** (1 / len(counts)))


def _some_of(script: int) -> str:
    """200 characters of a script by chance."""
    begins = [start for start, _, _ in tokens.SCRIPTS] + [0x20000]
    points = map(chr, range(begins[script], begins[script + 1]))
    chars = [char for char in points if unicodedata.category(char)[0] in "LMNSP"]
    return "".join(random.Random(script).choices(chars, k=200))


def _bounds(charge: twin.Charge, guess: float) -> tuple[float, float]:
    """The least that a cost may be, so that nothing comes cheap, and the most."""
    bounds = (0.0, _MOST_COST)
    match charge:
        case ("others", "WIDE" | "GROUP") | ("signs", 3, _):
            bounds = (guess, guess)
        case "others", "TURN":
            bounds = (0.4, 1.0)
        case "others", _:
            bounds = (0.0, 1.5)
        case "script", _, _:
            bounds = (0.2, 4.0)
        case ("pairs", 0, _) | ("signs", 1, _):
            bounds = (0.5, _MOST_COST)
        case "signs", 2, _:
            bounds = (0.25, _MOST_COST)
    return bounds


def tables(costs: dict[twin.Charge, float]) -> str:
    """The costs as the kernel's source has them."""
    whole = {charge: round(cost * tokens.UNIT) for charge, cost in costs.items()}
    lines = [f"{name} = {whole['others', name]}" for name in _OTHERS]
    lines += ["PAIRS = _table("]
    for row in range(29):
        digits = "".join(np.base_repr(whole["pairs", row, at], 36) for at in range(1, 29))
        lines += [f'    "{digits.lower()}",']
    lines += [")", "SIGNS = _of_signs("]
    for row in range(4):
        digits = "".join(np.base_repr(whole["signs", row, ord(sign)], 36) for sign in _SIGNS)
        lines += [f'    "{digits.lower()}",']
    lines += [")", "SCRIPTS = ("]
    for script, (start, _, _) in enumerate(tokens.SCRIPTS):
        first, following = (whole["script", script, at] for at in (1, 0))
        lines += [f"    (0x{start:04X}, {first}, {following}),"]
    return "\n".join([*lines, ")"])


def estimate(text: str) -> int:
    return estimate_tokens(np.frombuffer(text.encode(), np.uint8))


def errors(texts: Sequence[Text]) -> dict[str, dict[str, Any]]:
    """By kind and vocabulary, in percent of the true count; positive where more is estimated."""
    by_kind = defaultdict(list)
    for text in texts:
        by_kind[text.kind].append([estimate(text.text) / count - 1 for count in text.counts])
    result: dict[str, dict[str, Any]] = {}
    for kind, off in by_kind.items():
        result[kind] = {"texts": len(off)}
        for name, percent in zip(_VOCABULARIES, 100 * np.array(off).T, strict=True):
            low, median, high = np.percentile(percent, (5, 50, 95))
            row = {"median": median, "median_abs": np.median(abs(percent)), "p5": low, "p95": high}
            result[kind][name] = {key: round(float(value), 1) for key, value in row.items()}
    return result


def times(texts: Sequence[Text], counts: dict[str, Count]) -> dict[str, dict[str, float]]:
    """CPU microseconds for 4 KB of some kinds, all ways in turn within one run: medians."""
    result = {}
    for kind in ("en honest", "Python, ours", "JSON", "ru", "zh", "base64"):
        sample = "\n".join(text.text for text in texts if text.kind == kind).encode()
        octets = np.frombuffer(sample, np.uint8)[:_TIMED_BYTES]
        text = octets.tobytes().decode(errors="ignore")
        ways: dict[str, Callable[[], object]] = {"estimate": partial(estimate_tokens, octets)}
        ways |= {name: partial(count, text) for name, count in counts.items()}
        rounds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(_ROUNDS):
            for name, way in ways.items():
                rounds[name].append(_cpu_us(way))
        result[kind] = {name: round(float(np.median(us)), 2) for name, us in rounds.items()}
    return result


def _cpu_us(way: Callable[[], object]) -> float:
    calls = 0
    start = now = time.thread_time()
    while now - start < _ROUND_S:
        for _ in range(4):
            way()
        calls += 4
        now = time.thread_time()
    return (now - start) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vocabularies", type=Path, help="folder with tiktoken's two files")
    parser.add_argument("--translations", type=Path, help="folder with .po files to fit to as well")
    parser.add_argument("--fit", nargs="*", choices=_VOCABULARIES, help="print the kernel's tables,"
                        " fitted to both vocabularies or only to those named")  # fmt: skip
    options = parser.parse_args()
    counts = vocabularies(options.vocabularies)
    if options.fit is not None:
        chosen = [counts[name] for name in options.fit or _VOCABULARIES]
        print(tables(fit(counted(chosen, options.translations)[0], chosen)))
        return
    report(counts, counted(list(counts.values()), options.translations)[1])


def report(counts: dict[str, Count], texts: Sequence[Text]) -> None:
    found, cpu = errors(texts), times(texts, counts)
    rows = [
        [kind, of["texts"], *(f"{of[name][key]:+.1f}" if key != "median_abs" else of[name][key]
                              for name in _VOCABULARIES for key in of[name])]
        for kind, of in found.items()
    ]  # fmt: skip
    columns = ["median", "abs", "p5", "p95"]
    print_table(
        ["error, %", "texts", *(f"{name[:2]} {c}" for name in _VOCABULARIES for c in columns)], rows
    )
    repeats = {
        name: {"estimate": estimate(text), **{v: count(text) for v, count in counts.items()}}
        for name, text in repeated().items()
    }
    print()
    print_table(
        ["over and over", *next(iter(repeats.values()))],
        [[k, *v.values()] for k, v in repeats.items()],
    )
    print()
    print_table(
        ["CPU µs for 4 KB", "estimate", *_VOCABULARIES, "times"],
        [
            [kind, *us.values(), f"{us['o200k_base'] / us['estimate']:.0f}"]
            for kind, us in cpu.items()
        ],
    )
    result = {"error_percent": found, "repeats": repeats, "cpu_us_of_4_kb": cpu}
    save("token_estimate", result, ["numba", "numpy", "tiktoken", "extauthz"])


if __name__ == "__main__":
    main()

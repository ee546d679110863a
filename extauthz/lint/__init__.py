"""`extauthz lint`: finds settings around the filter through which a request passes unchecked.

It reads configurations of Envoy, Istio and Envoy Gateway, and decides nothing about requests.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from extauthz.lint.documents import MAX_BYTES, File, Ignore, UnreadableError, read
from extauthz.lint.estate import Estate
from extauthz.lint.report import Finding, Report, as_json, as_sarif, as_text
from extauthz.lint.rule import Options, Severity
from extauthz.lint.rules import RULES

__all__ = ["RULES", "Options", "UnreadableError", "add_arguments", "lint", "options", "read", "run"]

_SUFFIXES: Final = {".yaml", ".yml", ".json"}
_FORMATS: Final[dict[str, Callable[[Report], str]]] = {
    "text": as_text,
    "json": as_json,
    "sarif": lambda report: as_sarif(report, RULES),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the command."""
    usual = Options()
    parser.add_argument("files", nargs="+", metavar="FILE", help="file, folder, or - for input")
    parser.add_argument("--format", choices=list(_FORMATS), default="text")
    parser.add_argument(
        "--fail-on", type=Severity, choices=list(Severity), default=Severity.WARNING
    )
    parser.add_argument("--max-message-bytes", type=int, default=usual.max_message_bytes)
    parser.add_argument("--min-timeout-s", type=float, default=usual.min_timeout_s)
    parser.add_argument("--max-deadline-s", type=float, default=usual.max_deadline_s)
    parser.add_argument("--memory-limit", type=int, help="bytes that Envoy may use")
    parser.add_argument("--envoy-version", default="", help="such as 1.40.0")
    parser.add_argument(
        "--identity-header", action="append", default=[], help="a header that the policy reads"
    )


def run(parsed: argparse.Namespace) -> int:
    """Lint the files. Exit status: 0 clean, 1 findings. UnreadableError or OSError otherwise."""
    report = lint([_read(name) for name in _walk(parsed.files)], options(parsed))
    sys.stdout.write(f"{_FORMATS[parsed.format](report)}\n")
    return int(report.fails(parsed.fail_on))


def options(parsed: argparse.Namespace) -> Options:
    """What the flags say."""
    return Options(
        parsed.max_message_bytes,
        parsed.min_timeout_s,
        parsed.max_deadline_s,
        parsed.memory_limit,
        parsed.envoy_version,
        tuple(parsed.identity_header),
    )


def lint(files: Sequence[File], given: Options) -> Report:
    """Apply every rule to all files together: one may say what another leaves open."""
    documents = [document for file in files for document in file.documents]
    estate = Estate(documents)
    report = Report(
        documents=len(documents),
        files=len(files),
        skipped=[one for file in files for one in file.skipped],
    )
    by_name, used = {file.name: file for file in files}, set[Ignore]()
    for one in sorted(_unique(_find(estate, given)), key=_order):
        ignore = _ignore(by_name[one.at.source.file], one)
        if ignore:
            used.add(ignore)
            report.ignored.append(Finding(one.rule, one.at, one.what, ignore.reason))
        else:
            report.findings.append(one)
    report.notes = [*_unjudged(estate), *_useless(files, used)]
    return report


def _find(estate: Estate, given: Options) -> Iterator[Finding]:
    for rule in RULES:
        for fault in rule.find(estate, given):
            yield Finding(rule, fault.at, fault.what)


def _unique(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each rule and place: several routes share what their host says."""
    return list({(one.rule.id, one.place, one.at.path): one for one in findings}.values())


def _order(one: Finding) -> tuple[str, int, int, int]:
    return one.at.source.file, one.at.line, one.at.column, one.rule.number


def _ignore(file: File, one: Finding) -> Ignore | None:
    """The comment on the finding's line or the one above that ignores it."""
    near = [
        ignore
        for ignore in file.ignores
        if ignore.rule == one.rule.id and one.at.line - ignore.line in {0, 1} and ignore.reason
    ]
    return near[0] if near else None


def _useless(files: Sequence[File], used: set[Ignore]) -> Iterator[str]:
    for file in files:
        for ignore in (one for one in file.ignores if one not in used):
            why = "nothing is found there" if ignore.reason else "it gives no reason"
            yield f"{file.name}:{ignore.line}: ignore {ignore.rule} has no effect: {why}"


def _unjudged(estate: Estate) -> Iterator[str]:
    """What the rules about routes could not look at."""
    for manager in estate.managers:
        if not manager.routes:
            place = f"{manager.at.source.file}:{manager.at.line}"
            yield f"{place}: its routes are not in these files: L7 and L22 saw none"


def _walk(names: Sequence[str]) -> Iterator[str]:
    """The files named, and those below the folders named."""
    for name in names:
        path = Path(name)
        if name == "-" or not path.is_dir():
            yield name
        else:
            found = (one for one in path.rglob("*") if one.suffix in _SUFFIXES and one.is_file())
            yield from map(str, sorted(found))


def _read(name: str) -> File:
    if name == "-":
        return read("<stdin>", sys.stdin.buffer.read(MAX_BYTES + 1))
    with Path(name).open("rb") as file:
        return read(name, file.read(MAX_BYTES + 1))

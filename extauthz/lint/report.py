"""What was found, for people, for scripts, and for code scanning services (SARIF 2.1.0)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from extauthz import __version__
from extauthz.lint.documents import Skipped
from extauthz.lint.node import Node
from extauthz.lint.rule import Rule, Severity

_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One fault that a rule found. `reason` is why a comment in the file ignores it."""

    rule: Rule
    at: Node
    what: str
    reason: str = ""

    @property
    def place(self) -> str:
        """File, line and column."""
        return f"{self.at.source.file}:{self.at.line}:{self.at.column}"


@dataclass(slots=True)
class Report:
    """Everything that one run has to say."""

    documents: int = 0
    files: int = 0
    findings: list[Finding] = field(default_factory=list)
    ignored: list[Finding] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fails(self, on: Severity) -> bool:
        """Whether there is a finding of that severity or a worse one."""
        worst = {Severity.ERROR} if on is Severity.ERROR else set(Severity)
        return any(one.rule.severity in worst for one in self.findings)


def as_text(report: Report) -> str:
    """For people: the places by file, then each rule's reason and remedy once."""
    return "\n".join([*_places(report), *_reasons(report.findings), *_asides(report)])


def _places(report: Report) -> Iterator[str]:
    file = ""
    for one in report.findings:
        if file and one.at.source.file != file:
            yield ""
        file = one.at.source.file
        yield f"{one.place}  {one.rule.id} {one.rule.severity}  {one.rule.title}"
        yield f"    {one.what} ({one.at.path})"


def _reasons(findings: Sequence[Finding]) -> Iterator[str]:
    for rule in sorted({one.rule for one in findings}, key=lambda one: one.number):
        yield f"\n{rule.id}  {rule.why}\n    Fix: {rule.fix}"
    if findings:
        yield ""


def _asides(report: Report) -> Iterator[str]:
    for one in report.ignored:
        yield f"ignored: {one.place}  {one.rule.id}  {one.reason}"
    for skipped in report.skipped:
        yield f"skipped: {skipped.file}:{skipped.line}  {skipped.what}: no rule reads it"
    yield from (f"note: {note}" for note in report.notes)
    errors = sum(one.rule.severity is Severity.ERROR for one in report.findings)
    yield (
        f"{report.files} files, {report.documents} documents: {errors} errors,"
        f" {len(report.findings) - errors} warnings, {len(report.ignored)} ignored,"
        f" {len(report.skipped)} skipped"
    )


def as_json(report: Report) -> str:
    """For scripts: one object."""
    return json.dumps(
        {
            "files": report.files,
            "documents": report.documents,
            "findings": [_plain(one) for one in report.findings],
            "ignored": [_plain(one) | {"reason": one.reason} for one in report.ignored],
            "skipped": [
                {"file": one.file, "line": one.line, "what": one.what} for one in report.skipped
            ],
            "notes": report.notes,
        },
        indent=2,
    )


def _plain(one: Finding) -> dict[str, Any]:
    return {
        "rule": one.rule.id,
        "severity": one.rule.severity.value,
        "title": one.rule.title,
        "file": one.at.source.file,
        "line": one.at.line,
        "column": one.at.column,
        "path": one.at.path,
        "what": one.what,
    }


def as_sarif(report: Report, rules: Sequence[Rule]) -> str:
    """For code scanning: SARIF 2.1.0, with the ignored findings as suppressed ones."""
    driver = {
        "name": "extauthz lint",
        "version": __version__,
        "rules": [_described(rule) for rule in rules],
    }
    results = [_result(one, rules) for one in (*report.findings, *report.ignored)]
    said = [f"{one.file}:{one.line}: {one.what}: no rule reads it" for one in report.skipped]
    notifications = [
        {"level": "note", "message": {"text": text}} for text in (*said, *report.notes)
    ]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notifications}],
        "results": results,
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _described(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _result(one: Finding, rules: Sequence[Rule]) -> dict[str, Any]:
    region = {"startLine": one.at.line, "startColumn": one.at.column}
    location = {
        "physicalLocation": {
            "artifactLocation": {"uri": one.at.source.file},
            "region": region,
        },
        "logicalLocations": [{"fullyQualifiedName": one.at.path}],
    }
    suppressed = [{"kind": "inSource", "justification": one.reason}] if one.reason else []
    return {
        "ruleId": one.rule.id,
        "ruleIndex": rules.index(one.rule),
        "level": one.rule.severity.value,
        "message": {"text": f"{one.rule.title}: {one.what}"},
        "locations": [location],
        "suppressions": suppressed,
    }

"""The `extauthz` command. Each subcommand imports only what it needs."""

import argparse
import asyncio
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from extauthz import __version__, settings
from extauthz.model.directory import ModelError
from extauthz.policy_file import PolicyError
from extauthz.policy_file import load as load_policy


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand. Exit status: 0 done, 1 a check said no, 2 wrong input or settings."""
    parser = argparse.ArgumentParser(
        prog="extauthz", description="External authorization for LLM and AI endpoints behind Envoy."
    )
    parser.add_argument("--version", action="version", version=f"extauthz {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    words = sys.argv[1:] if arguments is None else arguments
    _declare(commands, words[:1])
    parsed = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        status: int = parsed.run(parsed)
    except (PolicyError, ModelError, ValueError, OSError) as error:
        print(f"extauthz: {error}", file=sys.stderr)
        return 2
    return status


def _declare(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", wanted: Sequence[str]
) -> None:
    serve = commands.add_parser("serve", help="answer Envoy's checks")
    settings.add_arguments(serve)
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check-policy", help="say whether a policy file can be served")
    check.add_argument("file", type=Path)
    check.set_defaults(run=_check_policy)

    explain = commands.add_parser("explain", help="show every step of one decision")
    explain.add_argument("request", type=Path, help="an HTTP request (.http) or its JSON body")
    explain.add_argument("--path", default="", help="request path, for a JSON body alone")
    explain.add_argument("--policy", type=Path, default=settings.DEFAULT_POLICY)
    explain.add_argument("--model", type=Path, default=settings.DEFAULT_MODEL)
    explain.add_argument("--calibration", type=Path, help="as for serve")
    explain.add_argument("--vocabularies", type=settings.VOCABULARIES, default={})
    explain.add_argument("--json", action="store_true", help="for machines; holds the text")
    explain.set_defaults(run=_explain)

    lint = commands.add_parser("lint", help="find settings that let requests pass unchecked")
    if "lint" in wanted:
        module = importlib.import_module("extauthz.lint")
        module.add_arguments(lint)
        lint.set_defaults(run=module.run)

    receipts = commands.add_parser("receipts", help="verify inspection receipts in access logs")
    if "receipts" in wanted:
        module = importlib.import_module("extauthz.receipts")
        module.add_arguments(receipts)
        receipts.set_defaults(run=module.run)

    budget = commands.add_parser("budget", help="show and change what a running server counts")
    if "budget" in wanted:
        module = importlib.import_module("extauthz.budget")
        module.add_arguments(budget)
        budget.set_defaults(run=module.run)

    for name, where, text in (
        ("train", "train", "fine-tune and export a model directory"),
        ("evaluate", "evaluation.evaluate", "measure a model directory on labelled data"),
        ("calibrate", "evaluation.calibrate", "measure on honest traffic what scores mean"),
    ):
        command = commands.add_parser(name, help=text)
        if name in wanted:  # no other command imports training
            module = importlib.import_module(f"extauthz.training.{where}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)

    demo = commands.add_parser("demo", help="send sample requests through a real Envoy")
    demo.add_argument("--keep", action="store_true", help="leave everything running")
    demo.add_argument("--transport", choices=("h2corn", "grpcio"), default="h2corn")
    demo.set_defaults(run=_demo)


def _serve(parsed: argparse.Namespace) -> int:
    from extauthz.server import serve

    serve(settings.read(parsed))
    return 0


def _check_policy(parsed: argparse.Namespace) -> int:
    try:
        policy = load_policy(parsed.file)
    except PolicyError as error:
        print(error, file=sys.stderr)
        return 1
    names = ", ".join(rule.name for rule in (*policy.routes, policy.default))
    print(f"{parsed.file}: good, sha256:{policy.digest}\nrules in order: {names}")
    return 0


def _explain(parsed: argparse.Namespace) -> int:
    from extauthz import explain

    call = explain.read_request(parsed.request, parsed.path)
    policy = load_policy(parsed.policy)
    files = (parsed.model, parsed.vocabularies, parsed.calibration)
    trace = asyncio.run(explain.explain(call, policy, *files))
    print(explain.as_json(trace) if parsed.json else explain.as_text(trace))
    return 0


def _demo(parsed: argparse.Namespace) -> int:
    from extauthz.demo import run

    return run(keep=parsed.keep, transport=parsed.transport)

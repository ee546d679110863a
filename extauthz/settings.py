"""Settings of the process: flags, each with an environment variable, fixed until restart.

The policy says what to decide and is reloaded; settings say where to listen and what to load.
"""

import argparse
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args

from extauthz.model import Device
from extauthz.store.options import COUNTERS, OVERSHOOT, RESERVATIONS, StoreOptions
from extauthz.transport.options import (
    MAX_DEADLINE_S,
    MAX_MESSAGE_BYTES,
    ListenOptions,
    TlsOptions,
)

PACKAGE: Final = Path(__file__).parent
DEFAULT_POLICY: Final = PACKAGE / "default_policy.yaml"
DEFAULT_MODEL: Final = PACKAGE / "models" / "minilm-guard"

TransportName = Literal["h2corn", "grpcio"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `extauthz serve` is told. Durations are in seconds."""

    listeners: tuple[ListenOptions, ...]
    transport: TransportName
    admin: str
    control: Path | None
    policy: Path
    model: Path
    calibration: Path | None
    device: Device
    model_threads: int
    records: str
    receipt_key: Path | None
    vocabularies: Mapping[str, Path]
    store: StoreOptions
    drain_wait_s: float
    drain_grace_s: float


def _kind(expected: str, convert: Callable[[str], _T]) -> Callable[[str], _T]:
    """An argparse type; it holds for environment variables too, which `choices` does not."""

    def typed(text: str) -> _T:
        try:
            return convert(text)
        except ValueError:
            msg = f"expected {expected}, found {text!r}"
            raise argparse.ArgumentTypeError(msg) from None

    return typed


def _whole(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _seconds(text: str) -> float:
    if not 0 <= (seconds := float(text)) < math.inf:
        raise ValueError
    return seconds


def _share(text: str) -> float:
    if not 0 < (share := float(text)) <= 1:
        raise ValueError
    return share


def _tcp(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or "/" in host or not 0 <= int(port) <= 65_535:
        raise ValueError
    return text


def _addresses(text: str) -> tuple[str, ...]:
    if not (names := _names(text)):
        raise ValueError
    return tuple(name if name.startswith("unix:/") else _tcp(name) for name in names)


def _named_files(text: str) -> dict[str, Path]:
    pairs = [name.partition("=") for name in _names(text)]
    if not all(model and file for model, _, file in pairs):
        raise ValueError
    return {model: Path(file) for model, _, file in pairs}


def _one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    return _kind(" or ".join(names), lambda text: names[names.index(text)])


_WHOLE: Final = _kind("a whole number above 0", _whole)
_SECONDS: Final = _kind("seconds, 0 or more", _seconds)
_SHARE: Final = _kind("a share above 0 and at most 1", _share)
_LISTEN: Final = _kind("host:port or unix:/path", _addresses)
_ADMIN: Final = _kind("host:port or nothing", lambda text: _tcp(text) if text else "")
VOCABULARIES: Final = _kind("MODEL=FILE, several with commas", _named_files)
_TRANSPORT: Final = _one_of(get_args(TransportName))
_DEVICE: Final = _one_of(get_args(Device))


def add_arguments(parser: argparse.ArgumentParser, environ: Mapping[str, str] = os.environ) -> None:
    """Declare the flags. `--drain-wait-s` is also EXTAUTHZ_DRAIN_WAIT_S, and so on."""

    def flag(name: str, kind: Callable[[str], object], default: str, text: str) -> None:
        variable = "EXTAUTHZ_" + name.replace("-", "_").upper()
        parser.add_argument(
            f"--{name}",
            type=kind,
            default=environ.get(variable, default),
            metavar=name.rpartition("-")[2].upper(),
            help=f"{text} [{variable}, default {default or 'none'}]",
        )

    flag("listen", _LISTEN, "127.0.0.1:50051", "host:port or unix:/path; several with commas")
    flag("transport", _TRANSPORT, "h2corn", "HTTP/2 server: h2corn or grpcio")
    flag("admin", _ADMIN, "127.0.0.1:9100", "host:port of metrics and status page; empty for none")
    flag(
        "control",
        _file,
        "",
        "Unix socket for `extauthz budget`, of this user alone; none: no socket",
    )
    flag("policy", Path, str(DEFAULT_POLICY), "policy file; reloaded on SIGHUP and on change")
    flag("model", Path, str(DEFAULT_MODEL), "model directory")
    flag(
        "calibration",
        _file,
        "",
        "what its scores mean, as `extauthz calibrate` measured it on your traffic; none: the model's own",
    )
    flag("device", _DEVICE, "auto", "where the model runs: auto, cpu or cuda")
    flag("model-threads", _WHOLE, "1", "CPU threads of one model call")
    flag(
        "records", str, "-", "file for decision records, one JSON line each; - for standard output"
    )
    flag(
        "vocabularies", VOCABULARIES, "", "tokenizer.json of models upstream: MODEL=FILE,MODEL=FILE"
    )
    flag("receipt-key", _file, "", "file with the key of inspection receipts; none: no receipts")
    flag(
        "redis", str, "", "Redis or Valkey that replicas share their budgets in: redis://host:port"
    )
    flag("replicas", _WHOLE, "1", "processes that share it")
    flag(
        "overshoot",
        _SHARE,
        str(OVERSHOOT),
        "share of a rate's burst that all replicas together may have on top of it",
    )
    flag("budget-file", _file, "", "file in /dev/shm that processes of this machine count in")
    flag("budget-counters", _WHOLE, str(COUNTERS), "counters of limits, a power of two")
    flag("budget-reservations", _WHOLE, str(RESERVATIONS), "requests in flight, a power of two")
    flag("max-message-bytes", _WHOLE, str(MAX_MESSAGE_BYTES), "above Envoy's max_request_bytes")
    flag("max-deadline-s", _SECONDS, str(MAX_DEADLINE_S), "longest deadline granted to a Check")
    flag("drain-wait-s", _SECONDS, "2", "NOT_SERVING for so long before connections are closed")
    flag("drain-grace-s", _SECONDS, "10", "time for checks in flight after that")
    flag("tls-cert", str, "", "PEM certificate of this server")
    flag("tls-key", str, "", "PEM key of this server")
    flag("tls-client-ca", str, "", "PEM CA; clients must show a certificate of it")
    flag("tls-spiffe-ids", _names, "", "client identities admitted, with commas; none: any")


def read(arguments: argparse.Namespace) -> Settings:
    """Settings from parsed flags. Raises ValueError that says what was expected."""
    tls = _tls(arguments)
    listeners = tuple(
        ListenOptions(
            address,
            max_message_bytes=arguments.max_message_bytes,
            max_deadline_s=arguments.max_deadline_s,
            tls=None if address.startswith("unix:") else tls,
        )
        for address in arguments.listen
    )
    return Settings(
        listeners=listeners,
        transport=arguments.transport,
        admin=arguments.admin,
        control=arguments.control,
        policy=arguments.policy,
        model=arguments.model,
        calibration=arguments.calibration,
        device=arguments.device,
        model_threads=arguments.model_threads,
        records=arguments.records,
        receipt_key=arguments.receipt_key,
        vocabularies=arguments.vocabularies,
        store=StoreOptions(
            arguments.budget_counters,
            arguments.budget_reservations,
            arguments.budget_file,
            arguments.redis,
            arguments.replicas,
            arguments.overshoot,
        ),
        drain_wait_s=arguments.drain_wait_s,
        drain_grace_s=arguments.drain_grace_s,
    )


def _tls(arguments: argparse.Namespace) -> TlsOptions | None:
    if not arguments.tls_cert and not arguments.tls_key:
        if arguments.tls_client_ca or arguments.tls_spiffe_ids:
            msg = "--tls-client-ca and --tls-spiffe-ids need --tls-cert and --tls-key"
            raise ValueError(msg)
        return None
    if not (arguments.tls_cert and arguments.tls_key):
        msg = "--tls-cert and --tls-key go together"
        raise ValueError(msg)
    return TlsOptions(
        Path(arguments.tls_cert),
        Path(arguments.tls_key),
        Path(arguments.tls_client_ca) if arguments.tls_client_ca else None,
        arguments.tls_spiffe_ids,
    )


def _file(text: str) -> Path | None:
    return Path(text) if text else None


def _names(listed: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in listed.split(",") if name.strip())
    if listed and not names:  # a list that names nobody must not read as "anybody"
        msg = f"expected names with commas between them, found {listed!r}"
        raise argparse.ArgumentTypeError(msg)
    return names

"""Settings of the process: flags, each with an environment variable, fixed until restart.

The policy says what to decide and is reloaded; settings say where to listen and what to load.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from extauthz.model import Device
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


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `extauthz serve` is told. Durations are in seconds."""

    listeners: tuple[ListenOptions, ...]
    transport: TransportName
    admin: str
    policy: Path
    model: Path
    device: Device
    model_threads: int
    records: str
    drain_wait_s: float
    drain_grace_s: float


def add_arguments(parser: argparse.ArgumentParser, environ: Mapping[str, str] = os.environ) -> None:
    """Declare the flags. `--drain-wait-s` is also EXTAUTHZ_DRAIN_WAIT_S, and so on."""

    def flag(name: str, default: str, text: str, **more: object) -> None:
        variable = "EXTAUTHZ_" + name.replace("-", "_").upper()
        parser.add_argument(
            f"--{name}",
            default=environ.get(variable, default),
            help=f"{text} [{variable}, default {default or 'none'}]",
            **more,  # type: ignore[arg-type]  # choices, metavar
        )

    flag(
        "listen",
        "127.0.0.1:50051",
        "host:port or unix:/path; several with commas",
        metavar="ADDRESS",
    )
    flag("transport", "h2corn", "HTTP/2 server", choices=("h2corn", "grpcio"))
    flag("admin", "127.0.0.1:9100", "host:port of metrics and status page; empty for none")
    flag("policy", str(DEFAULT_POLICY), "policy file; reloaded on SIGHUP and when it changes")
    flag("model", str(DEFAULT_MODEL), "model directory")
    flag("device", "auto", "where the model runs", choices=("auto", "cpu", "cuda"))
    flag("model-threads", "1", "CPU threads of one model call")
    flag("records", "-", "file for decision records, one JSON line each; - for standard output")
    flag("max-message-bytes", str(MAX_MESSAGE_BYTES), "largest Check; above max_request_bytes")
    flag("max-deadline-s", str(MAX_DEADLINE_S), "longest deadline granted to a Check")
    flag("drain-wait-s", "2", "NOT_SERVING for so long before connections are closed")
    flag("drain-grace-s", "10", "time for checks in flight after that")
    flag("tls-cert", "", "PEM certificate of this server")
    flag("tls-key", "", "PEM key of this server")
    flag("tls-client-ca", "", "PEM CA; clients must show a certificate of it")
    flag("tls-spiffe-ids", "", "client identities admitted, with commas; none: any of the CA")


def read(arguments: argparse.Namespace) -> Settings:
    """Settings from parsed flags. Raises ValueError that says what was expected."""
    tls = _tls(arguments)
    listeners = tuple(
        ListenOptions(
            address,
            max_message_bytes=int(arguments.max_message_bytes),
            max_deadline_s=float(arguments.max_deadline_s),
            tls=None if address.startswith("unix:") else tls,
        )
        for address in _names(arguments.listen)
    )
    return Settings(
        listeners=listeners,
        transport=cast("TransportName", arguments.transport),
        admin=arguments.admin,
        policy=Path(arguments.policy),
        model=Path(arguments.model),
        device=cast("Device", arguments.device),
        model_threads=int(arguments.model_threads),
        records=arguments.records,
        drain_wait_s=float(arguments.drain_wait_s),
        drain_grace_s=float(arguments.drain_grace_s),
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
        _names(arguments.tls_spiffe_ids),
    )


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())

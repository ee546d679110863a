"""Settings come from flags, then from the environment, then from defaults; a wrong one is named."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import pytest

from extauthz import settings
from extauthz.settings import Settings
from extauthz.transport.options import TlsOptions

TLS = ("--tls-cert", "cert.pem", "--tls-key", "key.pem")


def read(*flags: str, environ: Mapping[str, str] | None = None) -> Settings:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser, environ or {})
    return settings.read(parser.parse_args(flags))


def test_without_any_it_listens_on_loopback_only_and_serves_what_is_shipped() -> None:
    found = read()

    assert [one.address for one in found.listeners] == ["127.0.0.1:50051"]
    assert found.listeners[0].tls is None
    assert found.admin.startswith("127.0.0.1:")
    assert found.policy.is_file()
    assert found.control is None
    assert (found.transport, found.device, found.records) == ("h2corn", "auto", "-")


def test_every_flag_is_also_an_environment_variable() -> None:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser, {})
    flags = [action for action in parser._actions if action.dest != "help"]

    assert flags
    for action in flags:
        assert f"[EXTAUTHZ_{action.dest.upper()}," in str(action.help)


def test_the_environment_replaces_a_default_and_a_flag_replaces_both() -> None:
    environ = {"EXTAUTHZ_DRAIN_WAIT_S": "7", "EXTAUTHZ_POLICY": "/etc/policy.yaml"}

    found = read("--drain-wait-s", "0.5", environ=environ)

    assert found.drain_wait_s == 0.5
    assert found.policy == Path("/etc/policy.yaml")


def test_a_control_socket_is_a_file() -> None:
    assert read("--control", "/run/extauthz.sock").control == Path("/run/extauthz.sock")


def test_vocabularies_are_named_by_the_model_they_are_of() -> None:
    assert read("--vocabularies", "gpt-4o=o200k.json, small=s.json").vocabularies == {
        "gpt-4o": Path("o200k.json"),
        "small": Path("s.json"),
    }
    assert read().vocabularies == {}


@pytest.mark.parametrize("wrong", ["o200k.json", "=o200k.json", "gpt-4o="])
def test_a_vocabulary_without_its_model_or_file_is_refused(
    wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read("--vocabularies", wrong)
    assert "MODEL=FILE" in capsys.readouterr().err


def test_one_flag_names_several_listeners_and_tls_is_for_those_on_tcp() -> None:
    found = read("--listen", "0.0.0.0:50051, unix:/run/a.sock,[::1]:0", *TLS)

    assert [(one.address, one.tls is not None) for one in found.listeners] == [
        ("0.0.0.0:50051", True),
        ("unix:/run/a.sock", False),
        ("[::1]:0", True),
    ]


def test_limits_hold_for_each_listener() -> None:
    flags = ("--max-message-bytes", "1000", "--max-deadline-s", "2.5")

    for one in read("--listen", "a:1,b:2", *flags).listeners:
        assert (one.max_message_bytes, one.max_deadline_s) == (1000, 2.5)


def test_there_are_no_receipts_unless_a_key_is_named() -> None:
    assert read().receipt_key is None
    assert read("--receipt-key", "/etc/key").receipt_key == Path("/etc/key")
    assert read(environ={"EXTAUTHZ_RECEIPT_KEY": "/etc/key"}).receipt_key == Path("/etc/key")


def test_scores_mean_what_the_model_says_unless_a_calibration_is_named() -> None:
    assert read().calibration is None
    assert read("--calibration", "own.json").calibration == Path("own.json")
    assert read(environ={"EXTAUTHZ_CALIBRATION": "own.json"}).calibration == Path("own.json")


def test_client_identities_are_read_as_a_list() -> None:
    flags = ("--tls-client-ca", "ca.pem", "--tls-spiffe-ids", "spiffe://a/b, spiffe://a/c")

    assert read(*TLS, *flags).listeners[0].tls == TlsOptions(
        Path("cert.pem"), Path("key.pem"), Path("ca.pem"), ("spiffe://a/b", "spiffe://a/c")
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--tls-cert", "c"), "--tls-cert and --tls-key go together"),
        (("--tls-key", "k"), "--tls-cert and --tls-key go together"),
        (("--tls-client-ca", "ca"), "need --tls-cert and --tls-key"),
        (("--tls-spiffe-ids", "spiffe://a/b"), "need --tls-cert and --tls-key"),
        ((*TLS, "--tls-spiffe-ids", "spiffe://a/b"), "spiffe_ids need a client_ca"),
        (("--max-deadline-s", "0"), "must be positive"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    flags: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        read(*flags)


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("model-threads", "two", "a whole number above 0"),
        ("model-threads", "0", "a whole number above 0"),
        ("max-message-bytes", "9MB", "a whole number above 0"),
        ("drain-wait-s", "2s", "seconds, 0 or more"),
        ("drain-grace-s", "-1", "seconds, 0 or more"),
        ("max-deadline-s", "nan", "seconds, 0 or more"),
        ("max-deadline-s", "inf", "seconds, 0 or more"),
        ("transport", "http3", "h2corn or grpcio"),
        ("device", "gpu", "auto or cpu or cuda"),
        ("listen", "", "host:port or unix:/path"),
        ("listen", "localhost", "host:port or unix:/path"),
        ("listen", "a:1,:2", "host:port or unix:/path"),
        ("listen", "a:65536", "host:port or unix:/path"),
        ("listen", "unix:run/a.sock", "host:port or unix:/path"),
        ("admin", "9100", "host:port or nothing"),
        ("admin", "unix:/run/admin.sock", "host:port or nothing"),
    ],
)
@pytest.mark.parametrize("in_environment", [False, True])
def test_a_wrong_value_is_named_with_what_was_expected(
    flag: str, value: str, expected: str, in_environment: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"EXTAUTHZ_" + flag.replace("-", "_").upper(): value} if in_environment else {}
    flags = [] if in_environment else [f"--{flag}={value}"]

    with pytest.raises(SystemExit) as stopped:
        read(*flags, environ=environ)

    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert f"--{flag}" in error
    assert f"expected {expected}, found " in error


def test_an_empty_admin_address_means_none() -> None:
    assert read("--admin", "").admin == ""

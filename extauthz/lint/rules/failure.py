"""What happens when there is no verdict, or none that counts."""

from collections.abc import Iterator
from typing import Final

from extauthz.lint.estate import Check, Estate
from extauthz.lint.node import Node
from extauthz.lint.rule import Family, Fault, Options, Severity, rule

#: Envoy's denominators of a FractionalPercent.
_DENOMINATORS: Final = {"": 100, "HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
#: Layers of Envoy's runtime that nobody can write from outside.
_FIXED_LAYERS: Final = ("static_layer",)
#: Names of Envoy's status codes that clients take for an outage; they may be numbers as well.
_OUTAGES: Final = {"InternalServerError", "BadGateway", "ServiceUnavailable", "GatewayTimeout"}


@rule(
    "L1",
    Severity.ERROR,
    fix="Set failure_mode_allow: false (failOpen: false). To prefer availability, set "
    "failure_mode_allow_header_add: true too and alert on the header; Istio and Envoy "
    "Gateway cannot mark such requests.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def unmarked_failures(estate: Estate, _: Options) -> Iterator[Fault]:
    """Requests pass unmarked when the check fails.

    With failure_mode_allow whatever makes the server slow, full or absent is a bypass: a crash, a
    refused 5 MiB body and a timeout each let the request through, and nothing says so.
    """
    for check in estate.checks:
        open_ = check.get("failure_mode_allow")
        marked = check.get("failure_mode_allow_header_add")
        if open_ is not None and open_.on and not (marked and marked.on):
            yield Fault(open_, "requests pass while the check fails, and carry no mark")


@rule(
    "L5",
    Severity.WARNING,
    fix="Set it to what your longest admitted prompt takes, at most `extauthz serve "
    "--max-deadline-s` (10 s by default; tell `lint` with the same flag). The server "
    "answers within 80 % of it.",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def unsuitable_timeout(estate: Estate, options: Options) -> Iterator[Fault]:
    """The time for a check is not the server's.

    Unset, it is 200 ms in Envoy, which a long prompt on a CPU exceeds, 600 s in Istio and 10 s in
    Envoy Gateway. Too short is refused, or passes unchecked with failure_mode_allow (at exactly
    the timeout); longer than the server grants only keeps bodies in memory.
    """
    settings = [check.get("timeout") for check in estate.checks]
    for timeout in (one for one in settings if one is not None):
        seconds = timeout.seconds
        if seconds is None:
            yield Fault(timeout, "no timeout is set")
        elif not options.min_timeout_s <= seconds <= options.max_deadline_s:
            wanted = f"{options.min_timeout_s:g} s to {options.max_deadline_s:g} s"
            yield Fault(timeout, f"{timeout.text} is not within {wanted}")


@rule(
    "L18",
    Severity.ERROR,
    fix="Remove filter_enabled, filter_enabled_metadata, the matcher and shadow_mode, or add "
    "deny_at_disable and a layered_runtime of static layers only. To try a policy out, use "
    "extauthz's own shadow mode, which records each verdict.",
    families=(Family.ENVOY, Family.ISTIO),
)
def partly_enabled(estate: Estate, _: Options) -> Iterator[Fault]:
    """Only some requests are checked, or no verdict counts.

    filter_enabled below 100 % passes the rest unchecked unless deny_at_disable is true;
    filter_enabled_metadata and a matcher do the same for what they do not match. A runtime key
    lets whoever reaches the admin interface turn the check off, and Envoy has a writable runtime
    unless one is configured. shadow_mode passes what was denied.
    """
    for check in estate.checks:
        if check.in_envoys_words:
            yield from _gaps(check)
    for one in (one for manager in estate.managers for one in manager.checks):
        if one.typed.conditional:
            yield Fault(one.at, "a matcher decides which requests are checked")


def _gaps(check: Check) -> Iterator[Fault]:
    at = check.at
    if at.get("shadow_mode").on:
        yield Fault(at.get("shadow_mode"), "no verdict is enforced")
    if at.get("deny_at_disable.default_value").on:
        return
    if at.get("filter_enabled_metadata").present:
        yield Fault(at.get("filter_enabled_metadata"), "checks depend on metadata")
    enabled = at.get("filter_enabled")
    if not enabled.present:
        return
    if (share := _share(enabled.get("default_value"))) < 1:
        yield Fault(enabled, f"{share:.4%} of the requests are checked")
    elif enabled.get("runtime_key").text and _writable(check.document.root):
        yield Fault(enabled.get("runtime_key"), "a writable runtime can switch the check off")


def _share(percent: Node) -> float:
    whole = _DENOMINATORS.get(percent.get("denominator").text, 1_000_000)
    return (percent.get("numerator").number or 0) / whole


def _writable(bootstrap: Node) -> bool:
    """Whether anything but the configuration can change runtime values. By default, /runtime_modify."""
    layers = list(bootstrap.get("layered_runtime.layers").items())
    fixed = [any(layer.get(kind).present for kind in _FIXED_LAYERS) for layer in layers]
    return not layers or not all(fixed)


@rule(
    "L20",
    Severity.WARNING,
    fix="Set status_on_error: { code: ServiceUnavailable } (statusOnError: 503).",
    families=(Family.ENVOY, Family.ISTIO, Family.GATEWAY),
)
def outage_as_denial(estate: Estate, _: Options) -> Iterator[Fault]:
    """An outage looks like a denial.

    Without status_on_error a check that failed is answered 403: clients do not retry it, and
    dashboards count an outage as denials.
    """
    for check in estate.checks:
        status, open_ = check.get("status_on_error"), check.get("failure_mode_allow")
        if status is None or (open_ is not None and open_.on):
            continue
        if not _is_outage(status):
            yield Fault(status, f"failed checks are answered {status.text or '403'}")


def _is_outage(status: Node) -> bool:
    return status.text in _OUTAGES or 500 <= (status.number or 0) <= 599

"""What each request is reserved, charged and given back: budgets from the Check to the access log."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain
from secrets import token_hex
from typing import Final

from extauthz.core.budget.allowance import NO_USAGE, Allowance
from extauthz.core.budget.demand import MAX_TOKENS, Ask, Demand, Models
from extauthz.core.budget.descriptors import Descriptor, LimitStatus
from extauthz.core.budget.expectation import Expectations
from extauthz.core.budget.limits import EVERY_S, OTHER, Budgets, By, Calendar, Charge, Count, Limit
from extauthz.core.budget.report import Report, Usage
from extauthz.core.budget.settlement import Settlement
from extauthz.core.call import Call
from extauthz.core.policy import Policy, Rule
from extauthz.core.reasons import Failure
from extauthz.store import Store
from extauthz.store.memory import private_store

#: What the rate limit service may be asked to count, and which tokens that are.
_DOMAINS: Final = {
    Count.REQUESTS.value: Count.REQUESTS,
    Count.INPUT_TOKENS.value: Count.INPUT_TOKENS,
    Count.OUTPUT_TOKENS.value: Count.OUTPUT_TOKENS,
    Count.TOTAL_TOKENS.value: Count.TOTAL_TOKENS,
}
#: How principals of the sources begin that a mesh can name in a descriptor.
_SOURCES: Final = ("jwt:", "header:")
_CALENDAR_S: Final = {Calendar.HOUR: 3_600, Calendar.DAY: 86_400, Calendar.MONTH: 2_592_000}


def alone() -> "Accounts":
    """Budgets of this process, of which nobody is told."""
    return Accounts(private_store(), lambda _: None)


class Accounts:
    """Budgets of one policy over one store."""

    def __init__(self, store: Store, observe: Callable[[Settlement], None]) -> None:
        """Nothing is limited until `serve`."""
        self._store: Final = store
        self._observe: Final = observe
        self._learnt: Final = Expectations()
        self._budgets = Budgets()
        self._models = Models(self._budgets)
        self._routes: frozenset[str] = frozenset()
        self._limited: frozenset[str] = frozenset()

    @property
    def replica(self) -> str:
        """What this process is called in the metadata of its decisions."""
        return self._store.replica

    def serve(self, policy: Policy) -> None:
        """Limit by this policy from now on. What was counted stays, for limits that stay."""
        self._budgets = policy.budgets
        self._models = Models(policy.budgets)
        self._routes = frozenset(rule.name for rule in (*policy.routes, policy.default))
        named = (limit.routes or self._routes for limit in policy.budgets.limits)
        self._limited = frozenset(chain.from_iterable(named))
        self._learnt.keep(frozenset({OTHER, *(model.name for model in policy.budgets.models)}))
        self._store.serve(policy.budgets)

    def limits(self, rule: Rule) -> bool:
        """Whether a limit may be for requests under this rule."""
        return rule.name in self._limited

    def model(self, demand: Demand) -> str:
        """The policy's name for the model that is asked for."""
        return self._models.name(demand.model)

    async def reserve(
        self, call: Call, rule: Rule, demand: Demand, until: float
    ) -> Allowance | Failure:
        """Reserve what a request is expected to cost; `until` is when an answer must be there.

        CHECK_MALFORMED without Envoy's number of it, OVERLOADED where there is no room to count in,
        STORE_FAULT where the store is out of reach and the policy says that this denies.
        """
        if not call.id:
            return Failure.CHECK_MALFORMED  # all of these would be one request
        model = self.model(demand)
        usage = Usage(demand.input_tokens, self._output(rule, model, demand))
        ask = Ask(
            call.id,
            call.principal,
            call.tenant,
            rule.name,
            model,
            usage,
            *self._models.price(model),
        )
        allowance = await self._store.reserve(ask, until)
        if isinstance(allowance, Failure) or allowance.limited:
            return allowance
        return replace(allowance, reserved=usage)

    def release(self, call: Call) -> None:
        """The request is refused after all."""
        self._store.release(call.id)

    def settle(self, reports: Iterable[Report]) -> None:
        """Charge what requests used, by the access log's word or the policy's rule."""
        for report in reports:
            charge = self._charge(report)
            settled = self._store.settle(report.replica, report.id, charge)
            forwarded = settled is None and self._store.forwards(report.replica)
            if settled is not None or forwarded:
                self._learn(report)
            self._observe(Settlement(report, charge, settled, forwarded))

    def _learn(self, report: Report) -> None:
        """How long answers are whose length was the model's choice. Others could be made short on purpose."""
        if report.usage is not None and not report.capped:
            self._learnt.saw(report.model, report.usage.output_tokens)

    async def rate_limit(
        self, domain: str, descriptor: Descriptor, until: float
    ) -> LimitStatus | None:
        """Count hits for Envoy's rate limit filter. None where no limit is for the descriptor.

        Requests above a limit are not counted. Tokens are, as they have been used by then.
        """
        count = _DOMAINS.get(domain)
        if count is None or (asked := self._asked(count, descriptor)) is None:
            return None
        allowance = await self._store.reserve(asked, until)
        if isinstance(allowance, Failure):
            return LimitStatus(limited=True, amount=0, unit_s=0, remaining=0, reset_s=1.0)
        if allowance.limited and count is not Count.REQUESTS:
            await self._store.reserve(replace(asked, usage=NO_USAGE), until)
            self._store.settle(self.replica, asked.id, asked.usage)
        else:
            self._store.settle(self.replica, asked.id, Charge.RESERVED)
        return _status(allowance)

    def _asked(self, count: Count, descriptor: Descriptor) -> Ask | None:
        """The hits of a descriptor as a request; None where no limit counts just that."""
        entries = dict(descriptor.entries)
        route, asked_model = entries.pop(By.ROUTE, ""), entries.pop(By.MODEL, "")
        tenant, model = entries.pop(By.TENANT, ""), self._models.name(asked_model)
        principal = _principal(entries)
        if principal is None or (route and route not in self._routes):
            return None
        parts = {
            part
            for part, value in (
                (By.PRINCIPAL, principal),
                (By.TENANT, tenant),
                (By.ROUTE, route),
                (By.MODEL, asked_model),
            )
            if value
        }
        meant = tuple(
            limit.name
            for limit in self._budgets.limits
            if limit.count is count and _said_of(limit) == parts and limit.is_for(route, model)
        )
        if not meant:
            return None
        hits = min(descriptor.hits, MAX_TOKENS)
        tokens = Usage(0, hits) if count is Count.OUTPUT_TOKENS else Usage(hits, 0)
        usage = NO_USAGE if count is Count.REQUESTS else tokens
        return Ask(token_hex(8), principal, tenant, route, model, usage, requests=hits, only=meant)

    def _charge(self, report: Report) -> Usage | Charge:
        if report.usage is not None:
            return report.usage
        settle = self._budgets.settle
        return settle.failed if report.failed else settle.unreported

    def _output(self, rule: Rule, model: str, demand: Demand) -> int:
        """Tokens of all answers: as many as the request allows, or else as are usual."""
        if demand.output_cap is not None:
            return demand.output_cap * demand.choices
        # What the policy expects is the least: nobody can teach us that answers cost nothing.
        expected = max(self._models.expected_output(model), self._learnt.tokens(model) or 0)
        if rule.limits.output_tokens is not None:
            expected = min(expected, rule.limits.output_tokens)
        return expected * demand.choices


def _said_of(limit: Limit) -> set[By]:
    """What a descriptor has to say for a limit to be meant: whose counter, and for what it is."""
    named = {By.ROUTE: limit.routes, By.MODEL: limit.models}
    return {*limit.by, *(part for part, names in named.items() if names)}


def _principal(entries: dict[str, str]) -> str | None:
    """Who is meant by what is left of a descriptor, spelled as `identify` does; None if that is unclear.

    Either `principal` with all of it, or the name of a source, such as `header:x-user`, with a value.
    """
    if len(entries) > 1:
        return None
    for key, value in entries.items():
        if key == By.PRINCIPAL:
            return value
        return f"{key}:{value}" if key.startswith(_SOURCES) else None
    return ""


def _status(allowance: Allowance) -> LimitStatus | None:
    limit = allowance.limit
    if limit is None:
        return None
    wait = allowance.wait_s if allowance.wait_s is not None else allowance.reset_s
    return LimitStatus(
        allowance.limited, int(limit.most_at_once), _unit_s(limit), allowance.remaining, wait
    )


def _unit_s(limit: Limit) -> int:
    if limit.every is not None:
        return EVERY_S[limit.every]
    return 0 if limit.calendar is None else _CALENDAR_S[limit.calendar]

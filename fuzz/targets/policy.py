"""Policy files: a `Policy`, or a `PolicyError` that says where."""

from extauthz.core.call import Call
from extauthz.policy_file import PolicyError, parse
from fuzz.targets import require


def check(data: bytes) -> None:
    """Bytes become a policy that finds a rule for any call, or a PolicyError with lines."""
    try:
        policy = parse(data, "policy.yaml")
    except PolicyError as error:
        lines = str(error).splitlines()
        require(bool(lines), "an error says what is wrong")
        require(all(line.startswith("policy.yaml:") for line in lines), "each problem has its line")
        return
    policy.match(Call(host="a.example.com", path="/v1"), "/v1")

"""Rules of an application load balancer: which conditions ELB refuses, and which rule applies to a request.

Quotas: "Quotas for your Application Load Balancers"; conditions: "Listener rules for your Application Load Balancer",
both of the Elastic Load Balancing user guide.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from moto.elbv2.exceptions import ELBClientError
from moto.elbv2.models import FakeListener

MOST_CONDITION_VALUES = 5
MOST_RULES = 100

_UNCHANGED = {"Protocol": "#{protocol}", "Host": "#{host}", "Port": "#{port}", "Path": "/#{path}"}


def check(conditions: Iterable[dict[str, Any]], actions: Iterable[dict[str, Any]]) -> None:
    """Refuses too many values, sources that are not ranges, and redirects that lead back to the same address."""
    if any(_is_loop(action["RedirectConfig"]) for action in actions if "RedirectConfig" in action):
        raise ELBClientError(
            "InvalidLoadBalancerAction", "The redirect configuration is not valid because it creates a loop"
        )
    count = 0
    for condition in conditions:
        given = _values(condition)
        count += len(given)
        if condition.get("Field") == "source-ip":
            for cidr in given:
                if "/" not in cidr or not _is_network(cidr):
                    raise ELBClientError("ValidationError", f"The IP address '{cidr}' is not a valid CIDR block")
    if count > MOST_CONDITION_VALUES:
        raise ELBClientError("ValidationError", f"A rule can have at most '{MOST_CONDITION_VALUES}' condition values")


def check_count(listeners: Iterable[FakeListener]) -> None:
    """Refuses a new rule if the load balancer has the maximum number already."""
    if sum(len(listener.rules) - 1 for listener in listeners) >= MOST_RULES:
        raise ELBClientError("TooManyRules", "The maximum number of rules has been reached on the load balancer")


def is_forwarded(listener: FakeListener, host: str, path: str) -> bool:
    """Whether a request from any address is forwarded.

    The first rule that matches decides; rules for ranges don't match.
    """
    rules = [rule for rule in listener.rules.values() if not rule.is_default]
    for rule in sorted(rules, key=lambda rule: int(rule.priority)):
        if all(_is_met(condition, host, path) for condition in rule.conditions):
            return rule.actions[0].type == "forward"
    return False


def _is_loop(redirect: dict[str, Any]) -> bool:
    """Whether a redirect changes nothing; the query does not count (API reference, RedirectActionConfig)."""
    return all(redirect.get(key, unchanged) == unchanged for key, unchanged in _UNCHANGED.items())


def _is_met(condition: dict[str, Any], host: str, path: str) -> bool:
    given = _values(condition)
    match condition.get("Field"):
        case "host-header":
            return any(fnmatchcase(host.lower(), pattern.lower()) for pattern in given)
        case "path-pattern":
            return any(fnmatchcase(path, pattern) for pattern in given)
        case "source-ip":
            return "0.0.0.0/0" in given
        case _:
            return False


def _values(condition: dict[str, Any]) -> list[str]:
    configs = [value for key, value in condition.items() if key.endswith("Config")]
    return [*condition.get("Values", []), *(value for config in configs for value in config.get("Values", []))]


def _is_network(cidr: str) -> bool:
    try:
        ipaddress.ip_network(cidr)
    except ValueError:
        return False
    return True

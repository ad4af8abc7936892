"""Listeners of application load balancers, and their rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.inputs import each, known
from rehearsal.providers.aws.lb import ElbResource
from rehearsal.providers.protocol.model import UNKNOWN, Properties, Refused, Request, contains_unknown

_LISTENER = "port protocol defaultActions sslPolicy certificates"
_ACTION_NAMES = {"redirect": "RedirectConfig", "fixedResponse": "FixedResponseConfig"}
_DEFAULT_POLICY = "ELBSecurityPolicy-2016-08"
_REDIRECT = {"host": "#{host}", "path": "/#{path}", "port": "#{port}", "protocol": "#{protocol}", "query": "#{query}"}
# The supported types of action, and the property that each needs.
_ACTIONS = {"forward": "targetGroupArn", "redirect": "redirect", "fixed-response": "fixedResponse"}
_CONTENT_TYPES = ("text/plain", "text/css", "text/html", "application/javascript", "application/json")
_LONGEST_BODY = 1024
# The supported conditions: property -> field, and the key of its values.
_CONDITIONS = {
    "hostHeader": ("host-header", "HostHeaderConfig"),
    "pathPattern": ("path-pattern", "PathPatternConfig"),
    "sourceIp": ("source-ip", "SourceIpConfig"),
}
_MOST_VALUES, _LONGEST_VALUE = 5, 128
_PRIORITIES = (1, 50000)


def _value_problems(kind: str, values: list[str], at: str) -> Iterator[Refused]:
    for value in values:
        if not 1 <= len(value) <= _LONGEST_VALUE:
            yield Refused(f"{value!r} must have 1 to {_LONGEST_VALUE} characters", at)
        if kind == "sourceIp" and "/" not in value:
            yield Refused(f"{value!r} must be a range such as 203.0.113.0/24", at)


def _action_problems(actions: Any, at: str) -> Iterator[Refused]:
    if actions is UNKNOWN:
        return
    if not actions:
        yield Refused("at least one action is needed", at)
    for index, action in enumerate(actions):
        where = f"{at}[{index}]"
        if action is UNKNOWN or known(action.get("type")) is None:
            continue
        kind = action["type"]
        if kind not in _ACTIONS:
            yield Refused(
                f"the rehearsal's aws provider supports only {', '.join(_ACTIONS)}, not {kind}", f"{where}.type"
            )
        elif _ACTIONS[kind] not in action:
            yield Refused(f"an action of type {kind} needs {_ACTIONS[kind]}", f"{where}.{_ACTIONS[kind]}")
        for other in set(_ACTIONS.values()) & action.keys() - {_ACTIONS.get(kind)}:
            yield Refused(f"{other} can't be set when type is {kind}", f"{where}.{other}")
        yield from _answer_problems(action, where)


def _answer_problems(action: Mapping[str, Any], at: str) -> Iterator[Refused]:
    for path, code in each(action, "redirect.statusCode"):
        if code not in ("HTTP_301", "HTTP_302"):
            yield Refused(f"expected statusCode to be one of HTTP_301, HTTP_302, got {code}", f"{at}.{path}")
    for path, kind in each(action, "fixedResponse.contentType"):
        if kind not in _CONTENT_TYPES:
            yield Refused(f"expected contentType to be one of {', '.join(_CONTENT_TYPES)}, got {kind}", f"{at}.{path}")
    for path, code in each(action, "fixedResponse.statusCode"):
        if len(code) != 3 or not code.isdigit() or code[0] not in "245":
            yield Refused(f"expected statusCode to be 2XX, 4XX or 5XX, got {code}", f"{at}.{path}")
    for path, body in each(action, "fixedResponse.messageBody"):
        if len(body) > _LONGEST_BODY:
            yield Refused(f"messageBody has {len(body)} characters; it can have {_LONGEST_BODY}", f"{at}.{path}")


def _to_actions(actions: list[Properties]) -> list[Properties]:
    """The actions with the values that ELB would fill in."""
    made = []
    for order, action in enumerate(actions, 1):
        redirect = {"redirect": {**_REDIRECT, **action["redirect"]}} if "redirect" in action else {}
        made.append({"order": order, **action, **redirect})
    return made


class Listener(ElbResource):
    """A listener for HTTP or HTTPS."""

    token = "aws:lb/listener:Listener"
    force_new = frozenset({"loadBalancerArn"})
    required = ("port", "protocol")
    choices = {"protocol": ("HTTP", "HTTPS")}
    ranges = {"port": (1, 65535)}
    delete_before_replace = True
    made_id = "Listeners[0].ListenerArn"
    api_names = _ACTION_NAMES
    create_call = Call("create_listener", f"loadBalancerArn tags {_LISTENER}")
    read_call, found = Call("describe_listeners", ListenerArns=["{id}"]), "Listeners[0]"
    outputs = fields("defaultActions loadBalancerArn port protocol", certificateArn="Certificates[0].CertificateArn")
    updates = {"*": Call("modify_listener", _LISTENER, ListenerArn="{id}")}
    delete_call = Call("delete_listener", ListenerArn="{id}")
    unmodelled = frozenset({"alpnPolicy", "mutualAuthentication", "tcpIdleTimeoutSeconds"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _action_problems(inputs["defaultActions"], "defaultActions")
        for name in sorted(name for name in inputs if name.startswith("routing")):
            yield Refused(f"the rehearsal's aws provider does not support {name} of {self.token}", name)
        protocol = known(inputs.get("protocol"))
        if protocol == "HTTPS" and "certificateArn" not in inputs:
            yield Refused("certificateArn must be set when protocol is HTTPS", "certificateArn")
        if protocol == "HTTP":
            for name in {"certificateArn", "sslPolicy"} & inputs.keys():
                yield Refused(f"{name} can only be set when protocol is HTTPS", name)

    def given(self, inputs: Properties) -> Properties:
        given = {**super().given(inputs), "defaultActions": _to_actions(inputs["defaultActions"])}
        if inputs["protocol"] == "HTTPS":
            given["sslPolicy"] = inputs.get("sslPolicy", _DEFAULT_POLICY)
            given["certificates"] = [{"certificateArn": inputs["certificateArn"]}]
        return given

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        policy = found.get("SslPolicy") if found["Protocol"] == "HTTPS" else None
        return {"arn": known["id"], "sslPolicy": policy}


class ListenerRule(ElbResource):
    """A rule of a listener: conditions on the host, path and source of a request, and the actions."""

    token = "aws:lb/listenerRule:ListenerRule"
    force_new = frozenset({"listenerArn"})
    ranges = {"priority": _PRIORITIES}
    made_id, api_names = "Rules[0].RuleArn", _ACTION_NAMES
    create_call = Call("create_rule", "listenerArn priority conditions actions tags")
    read_call, found = Call("describe_rules", RuleArns=["{id}"]), "Rules[0]"
    outputs = fields("actions priority")
    updates = {
        "priority": Call("set_rule_priorities", RulePriorities=[{"RuleArn": "{id}", "Priority": "{priority}"}]),
        "actions conditions": Call("modify_rule", "conditions actions", RuleArn="{id}"),
    }
    delete_call = Call("delete_rule", RuleArn="{id}")
    unmodelled = frozenset({"transforms"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _action_problems(inputs["actions"], "actions")
        conditions = inputs["conditions"]
        if contains_unknown(conditions):
            return
        values = []
        for index, condition in enumerate(conditions):
            where = f"conditions[{index}]"
            if len(condition) != 1:
                yield Refused("a condition must have exactly one of hostHeader, pathPattern and so on", where)
            for kind, said in condition.items():
                if kind not in _CONDITIONS or said.keys() != {"values"}:
                    yield Refused(f"the rehearsal's aws provider supports only {', '.join(_CONDITIONS)}", where)
                    continue
                values += said["values"]
                yield from _value_problems(kind, said["values"], f"{where}.{kind}")
        if not conditions:
            yield Refused("at least one condition is needed", "conditions")
        if len(values) > _MOST_VALUES:
            yield Refused(
                f"a rule can have at most {_MOST_VALUES} condition values; this one has {len(values)}", "conditions"
            )

    def given(self, inputs: Properties) -> Properties:
        actions, conditions = _to_actions(inputs["actions"]), _to_conditions(inputs["conditions"])
        return {**super().given(inputs), "actions": actions, "conditions": conditions}

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        priority = inputs.get("priority") or _next_priority(cloud.client("elbv2"), inputs["listenerArn"])
        return super().make(cloud, {**inputs, "priority": priority}, request)

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        listener = known["id"].replace(":listener-rule/", ":listener/").rpartition("/")[0]
        return {"arn": known["id"], "conditions": _from_conditions(found["Conditions"]), "listenerArn": listener}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        kept = changed - ({"priority"} if "priority" not in inputs else set())
        super().change(cloud, id, inputs, olds, changed=kept, request=request)


def _to_conditions(conditions: list[Properties]) -> list[dict[str, Any]]:
    return [
        {"Field": _CONDITIONS[kind][0], _CONDITIONS[kind][1]: {"Values": said["values"]}}
        for condition in conditions
        for kind, said in condition.items()
    ]


def _from_conditions(conditions: list[dict[str, Any]]) -> list[Properties]:
    kinds = {field: (kind, key) for kind, (field, key) in _CONDITIONS.items()}
    shown = []
    for condition in conditions:
        kind, key = kinds[condition["Field"]]
        shown.append({kind: {"values": (condition.get(key) or {}).get("Values") or condition.get("Values", [])}})
    return shown


def _next_priority(elb: Any, listener: str) -> int:
    rules = elb.describe_rules(ListenerArn=listener)["Rules"]
    return max([0, *(int(rule["Priority"]) for rule in rules if rule["Priority"] != "default")]) + 1

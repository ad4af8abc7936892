"""Listeners of application load balancers, and their rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rehearsal.providers.aws.base import each, known
from rehearsal.providers.aws.cloud import Cloud, tag_list
from rehearsal.providers.aws.lb import ElbResource, tags_of
from rehearsal.providers.serving import UNKNOWN, Properties, Refused, Request, contains_unknown

_DEFAULT_POLICY = "ELBSecurityPolicy-2016-08"
_REDIRECT = {
    "host": ("Host", "#{host}"),
    "path": ("Path", "/#{path}"),
    "port": ("Port", "#{port}"),
    "protocol": ("Protocol", "#{protocol}"),
    "query": ("Query", "#{query}"),
    "statusCode": ("StatusCode", ""),
}
_FIXED_RESPONSE = {"contentType": "ContentType", "messageBody": "MessageBody", "statusCode": "StatusCode"}
# The kinds of action that can be carried out, and the property that each needs.
_ACTIONS = {"forward": "targetGroupArn", "redirect": "redirect", "fixed-response": "fixedResponse"}
_CONTENT_TYPES = ("text/plain", "text/css", "text/html", "application/javascript", "application/json")
_LONGEST_BODY = 1024
# The conditions that can be carried out: property -> field, and the key of its values.
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
                f"the rehearsal's aws provider carries out {', '.join(_ACTIONS)}, not {kind}", f"{where}.type"
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
            yield Refused(f"messageBody has {len(body)} characters, {_LONGEST_BODY} are possible", f"{at}.{path}")


def _to_actions(actions: list[Properties]) -> list[dict[str, Any]]:
    made = []
    for order, action in enumerate(actions, 1):
        call: dict[str, Any] = {"Type": action["type"], "Order": action.get("order", order)}
        if action["type"] == "forward":
            call["TargetGroupArn"] = action["targetGroupArn"]
        elif action["type"] == "redirect":
            given = action["redirect"]
            call["RedirectConfig"] = {key: given.get(name, default) for name, (key, default) in _REDIRECT.items()}
        else:
            given = action["fixedResponse"]
            call["FixedResponseConfig"] = {key: given[name] for name, key in _FIXED_RESPONSE.items() if name in given}
        made.append(call)
    return made


def _from_actions(actions: list[dict[str, Any]]) -> list[Properties]:
    shown = []
    for action in actions:
        found: Properties = {"type": action["Type"], "order": action.get("Order", 1)}
        if "TargetGroupArn" in action:
            found["targetGroupArn"] = action["TargetGroupArn"]
        if "RedirectConfig" in action:
            found["redirect"] = {name: action["RedirectConfig"].get(key) for name, (key, _) in _REDIRECT.items()}
        if "FixedResponseConfig" in action:
            answer = action["FixedResponseConfig"]
            found["fixedResponse"] = {name: answer[key] for name, key in _FIXED_RESPONSE.items() if key in answer}
        shown.append(found)
    return shown


class Listener(ElbResource):
    """A listener of HTTP or HTTPS."""

    token = "aws:lb/listener:Listener"
    force_new = frozenset({"loadBalancerArn"})
    choices = {"protocol": ("HTTP", "HTTPS")}
    ranges = {"port": (1, 65535)}
    longest_name = None
    delete_before_replace = True
    unmodelled = frozenset({"alpnPolicy", "mutualAuthentication", "tcpIdleTimeoutSeconds"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _action_problems(inputs["defaultActions"], "defaultActions")
        for name in ("port", "protocol"):
            if name not in inputs:
                yield Refused(f"a listener of an application load balancer needs a {name}", name)
        for name in sorted(name for name in inputs if name.startswith("routing")):
            yield Refused(f"the rehearsal's aws provider does not carry out {name} of {self.token}", name)
        protocol = known(inputs.get("protocol"))
        if protocol == "HTTPS" and "certificateArn" not in inputs:
            yield Refused("certificateArn must be set when protocol is HTTPS", "certificateArn")
        if protocol == "HTTP":
            for name in {"certificateArn", "sslPolicy"} & inputs.keys():
                yield Refused(f"{name} can only be set when protocol is HTTPS", name)

    def _parameters(self, inputs: Properties) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "Port": inputs["port"],
            "Protocol": inputs["protocol"],
            "DefaultActions": _to_actions(inputs["defaultActions"]),
        }
        if inputs["protocol"] == "HTTPS":
            parameters["SslPolicy"] = inputs.get("sslPolicy", _DEFAULT_POLICY)
            parameters["Certificates"] = [{"CertificateArn": inputs["certificateArn"]}]
        return parameters

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        tags = {"Tags": tag_list(inputs["tagsAll"])} if inputs.get("tagsAll") else {}
        made = cloud.client("elbv2").create_listener(
            LoadBalancerArn=inputs["loadBalancerArn"], **self._parameters(inputs), **tags
        )
        return made["Listeners"][0]["ListenerArn"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        found = cloud.client("elbv2").describe_listeners(ListenerArns=[id])["Listeners"][0]
        certificates = [one["CertificateArn"] for one in found.get("Certificates", [])]
        https = found["Protocol"] == "HTTPS"
        return {
            "arn": id,
            "certificateArn": certificates[0] if certificates else None,
            "defaultActions": _from_actions(found["DefaultActions"]),
            "loadBalancerArn": found["LoadBalancerArn"],
            "port": found["Port"],
            "protocol": found["Protocol"],
            "sslPolicy": found.get("SslPolicy") if https else None,
            "tags": tags_of(cloud, id),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        cloud.client("elbv2").modify_listener(ListenerArn=id, **self._parameters(inputs))

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("elbv2").delete_listener(ListenerArn=id)


class ListenerRule(ElbResource):
    """A rule of a listener: which requests, by host, path and source, and what becomes of them."""

    token = "aws:lb/listenerRule:ListenerRule"
    force_new = frozenset({"listenerArn"})
    ranges = {"priority": _PRIORITIES}
    longest_name = None
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
                yield Refused("a condition is exactly one of hostHeader, pathPattern and so on", where)
            for kind, said in condition.items():
                if kind not in _CONDITIONS or said.keys() != {"values"}:
                    yield Refused(f"the rehearsal's aws provider carries out values of {', '.join(_CONDITIONS)}", where)
                    continue
                values += said["values"]
                yield from _value_problems(kind, said["values"], f"{where}.{kind}")
        if not conditions:
            yield Refused("at least one condition is needed", "conditions")
        if len(values) > _MOST_VALUES:
            yield Refused(f"a rule has {_MOST_VALUES} condition values at most, this one {len(values)}", "conditions")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        elb = cloud.client("elbv2")
        tags = {"Tags": tag_list(inputs["tagsAll"])} if inputs.get("tagsAll") else {}
        made = elb.create_rule(
            ListenerArn=inputs["listenerArn"],
            Priority=inputs.get("priority") or _next_priority(elb, inputs["listenerArn"]),
            Conditions=_to_conditions(inputs["conditions"]),
            Actions=_to_actions(inputs["actions"]),
            **tags,
        )
        return made["Rules"][0]["RuleArn"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        found = cloud.client("elbv2").describe_rules(RuleArns=[id])["Rules"][0]
        return {
            "actions": _from_actions(found["Actions"]),
            "arn": id,
            "conditions": _from_conditions(found["Conditions"]),
            "listenerArn": id.replace(":listener-rule/", ":listener/").rpartition("/")[0],
            "priority": int(found["Priority"]),
            "tags": tags_of(cloud, id),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        elb = cloud.client("elbv2")
        if "priority" in changed and "priority" in inputs:
            elb.set_rule_priorities(RulePriorities=[{"RuleArn": id, "Priority": inputs["priority"]}])
        if changed & {"actions", "conditions"}:
            elb.modify_rule(
                RuleArn=id,
                Conditions=_to_conditions(inputs["conditions"]),
                Actions=_to_actions(inputs["actions"]),
            )

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("elbv2").delete_rule(RuleArn=id)


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

"""Resources as policies see them: written down by hand, or registered by a program under Pulumi's mocks."""

from __future__ import annotations

import json
import runpy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pulumi_policy import (
    Policy,
    PolicyCustomTimeouts,
    PolicyProviderResource,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from policies.pack import POLICIES
from policies.rules import UndecidedError
from tests.unit.engine_mocks import EngineMocks

HERE = Path(__file__).parent
UNKNOWN = UNKNOWN_STRING_VALUE
BY_NAME = {policy.name: policy for policy in POLICIES}


def resource(
    type_: str,
    props: Mapping[str, Any],
    name: str = "one",
    *,
    protect: bool = False,
    provider: Any = None,
    secret_outputs: Sequence[str] = (),
) -> PolicyResource:
    """A resource with these inputs (camelCase); `UNKNOWN` means a value that a preview does not know."""
    options = PolicyResourceOptions(protect, [], None, [], PolicyCustomTimeouts(0, 0, 0), list(secret_outputs))
    urn = f"urn:pulumi:test::test::{type_}::{name}"
    known = unknown_checking_proxy(dict(props))
    return PolicyResource(type_, known, urn, name, options, provider, None, [], {})


def kubernetes(kind: str, spec: Any = None, *, api: str = "v1", metadata: Any = None, **props: Any) -> PolicyResource:
    """An object of Kubernetes, called `one` unless its metadata say otherwise."""
    metadata = {"name": "one", **(metadata or {})}
    given = {"apiVersion": api, "kind": kind, "metadata": metadata, **props}
    if spec is not None:
        given["spec"] = spec
    return resource(f"kubernetes:{api}:{kind}", given, metadata["name"])


def release(chart: str, values: Any = None, **props: Any) -> PolicyResource:
    """A Helm release of a chart at its pinned version, in the namespace `hub`."""
    given = {"chart": chart, "version": "1.2.3", "namespace": "hub", "values": values or {}, **props}
    return resource("kubernetes:helm.sh/v3:Release", given, chart)


def node_pool(name: str = "gpu", **template: Any) -> PolicyResource:
    """A NodePool whose nodes are g5 and g6, and more of its template's spec; `spec_` has the pool's own spec."""
    own = template.pop("spec_", {})
    families = {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["g5", "g6"]}
    spec = {"requirements": [families], **template}
    labelled = {"metadata": {"labels": {"gpulab.dev/pool": name}}, "spec": spec}
    return kubernetes("NodePool", {"template": labelled, **own}, api="karpenter.sh/v1", metadata={"name": name})


def listener_rule(hosts: Sequence[str], paths: Sequence[str], **conditions: Any) -> PolicyResource:
    """A rule of an ALB; `conditions` has more of them, by kind."""
    named = {"hostHeader": {"values": hosts}, "pathPattern": {"values": paths}}
    given = [{kind: value} for kind, value in named.items() if value["values"]]
    given += [{kind: value} for kind, value in conditions.items()]
    return resource("aws:lb/listenerRule:ListenerRule", {"conditions": given})


def examined(policy: str | Policy, *resources: PolicyResource, **limits: Any) -> dict[str, list[str]]:
    """A policy's findings: by the resource's name, "" for the stack. `unknown` has what was not decided."""
    chosen = BY_NAME[policy] if isinstance(policy, str) else policy
    found: dict[str, list[str]] = {}

    def report_of(default: str) -> Any:
        def report(message: str, urn: str | None = None) -> None:
            found.setdefault(urn.rpartition("::")[2] if urn else default, []).append(message)

        return report

    def run(args: Any, default: str) -> None:
        try:
            chosen.validate(args, report_of(default))  # type: ignore[attr-defined]
        except UndecidedError as error:
            found.setdefault("unknown", []).append(error.message)

    if isinstance(chosen, ResourceValidationPolicy):
        for one in resources:
            run(
                ResourceValidationArgs(
                    one.resource_type, one.props, one.urn, one.name, one.opts, one.provider, limits, {}
                ),
                one.name,
            )
    else:
        run(StackValidationArgs(list(resources), limits, {}), "")
    return found


def registered(program: str) -> list[PolicyResource]:
    """The resources that a program of this folder registers, with their options and dependencies."""
    mocks = EngineMocks()
    # Policies get what is generated as a secret, never as the plain text that the mocks would give.
    del mocks.outputs["random:index/randomPassword:RandomPassword"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mocks.deploy(lambda: runpy.run_path(str(HERE / program / "__main__.py"), run_name="__main__"))
    return as_policies_see(mocks)


def as_policies_see(mocks: EngineMocks) -> list[PolicyResource]:
    """What was registered under the mocks, as pulumi-policy hands it to policies."""
    found = {}
    providers = {one.urn: one for one in mocks.resources if one.type.startswith("pulumi:providers:")}
    for one in mocks.resources:
        used = providers.get(one.provider.rpartition("::")[0])
        provider = PolicyProviderResource(used.type, used.inputs, used.urn, used.name) if used else None
        # What was drawn is no input.
        props = {**one.outputs, **one.inputs} if one.type.startswith("random:") else one.inputs
        found[one.urn] = resource(
            one.type,
            props,
            one.name,
            protect=one.protect,
            provider=provider,
            secret_outputs=one.additional_secret_outputs,
        )
        found[one.urn].urn = one.urn
    for one in mocks.resources:
        found[one.urn].dependencies = [found[urn] for urn in one.dependencies if urn in found]
    return list(found.values())


@pytest.fixture(scope="session")
def bad_platform() -> Sequence[PolicyResource]:
    """The resources of tests/policies/bad_platform."""
    return registered("bad_platform")


@pytest.fixture(scope="session")
def good_platform() -> Sequence[PolicyResource]:
    """The resources of tests/policies/good_platform."""
    return registered("good_platform")


def text(document: Any) -> str:
    """A document as the text that resources hold."""
    return json.dumps(document)

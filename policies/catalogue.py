"""All policies, in the order of their families: what the pack enforces and its documentation tells.

`python -m policies.catalogue` prints one policy a line; with `--write` it makes docs/policies.md anew.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from types import ModuleType

from pulumi_policy import EnforcementLevel, Policy, ResourceValidationPolicy

from policies import (
    capacity,
    cost,
    data,
    encryption,
    exposure,
    notebooks,
    permissions,
    quotas,
    secret_values,
    sign_in,
    supply,
    support,
    taints,
    workloads,
)
from policies.rules import EVERY_STACK, LABS_SETTING

FAMILIES: tuple[ModuleType, ...] = (
    taints,
    quotas,
    capacity,
    cost,
    encryption,
    exposure,
    permissions,
    secret_values,
    notebooks,
    workloads,
    supply,
    support,
    sign_in,
    data,
)
_WIDTH = 120
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "policies.md"

_INTRODUCTION = """\
# Policies

What `policies/` refuses, by family. Made by `make policies` from the policies themselves.

**Production or lab.** In production a violation is mandatory: preview and up end with an exit status that is not 0. In
a lab it is an advice. A stack says what it is by the stack tag `gpulab:lifecycle`, by the AWS tag `Lifecycle` (a
default tag of the provider will do) or by the label `gpulab.dev/lifecycle` of a namespace, each `lab` or `production`;
one that says nothing is production.

**Configuration.** `pulumi preview --policy-pack policies --policy-pack-config FILE`, with a policy's name as the key:
`{"instance-price": {"enforcementLevel": "advisory", "usdAnHour": 40, "labs": "disabled"}}`. `enforcementLevel` counts
in production, `labs` in a lab. `policies/unlock.json` is for the `up` that lifts a production stack's protection.

**Not yet known.** What a preview can't know is reported as "not yet known", as an advice, and checked again in
`pulumi up`.

**Not decided.** What no policy can read is reported as "not decided", as an advice, and never counts as fine: a
requirement of a NodePool that is not in the catalogue of instance types, a text that is no YAML, what a hub sets in
Python.

**Profiles.** Those of a JupyterHub release (`singleuser.profileList`), of ConfigMaps with the label
`gpulab.dev/profiles`, and of catalogues of teams and profiles in ConfigMaps with the label `gpulab.dev/catalogue`; a
hub whose pods have that label (`hub.labels`) starts nothing but what its catalogue says. The values of a release are
examined as they take effect: upon the defaults of the chart, where it is one of
[contracts/charts](../contracts/README.md).
"""


def of_module(module: ModuleType) -> list[Policy]:
    """The policies of a module, in the order in which they stand there."""
    return [value for value in vars(module).values() if isinstance(value, Policy)]


POLICIES: list[Policy] = [policy for family in FAMILIES for policy in of_module(family)]


def lines() -> list[str]:
    """The catalogue, one policy a line: its name, severity and description."""
    widest = max(len(policy.name) for policy in POLICIES)
    return [f"{policy.name:{widest}}  {_severity(policy):8}  {policy.description}" for policy in POLICIES]


def document() -> str:
    """The text of docs/policies.md."""
    parts = [_INTRODUCTION]
    for family in FAMILIES:
        summary = (family.__doc__ or "").strip().splitlines()[0]
        parts.append(f"## {summary.rstrip('.')}\n")
        parts += [_described(policy) for policy in of_module(family)]
    return "\n".join(parts)


def _described(policy: Policy) -> str:
    scope = "one resource" if isinstance(policy, ResourceValidationPolicy) else "the whole stack"
    facts = [f"Severity {_severity(policy)}", f"looks at {scope}"]
    if policy.framework:
        framework = policy.framework
        facts.append(" ".join(filter(None, (framework.name, framework.version, framework.reference))))
    told = [
        f"### {policy.name}\n",
        _wrapped(f"{policy.description}. {policy.remediation_steps}."),
        _wrapped(f"{'; '.join(facts)}."),
    ]
    properties = policy.config_schema.properties if policy.config_schema else {}
    settings = [
        f"- `{key}` ({_shown(schema['default'])}): {schema['description']}"
        for key, schema in properties.items()
        if key != LABS_SETTING
    ]
    if EVERY_STACK in (policy.tags or ()):
        settings.append("- It is as strict in a lab as in production.")
    elif properties.get(LABS_SETTING, {}).get("default") != "advisory":
        settings.append(f"- In a lab it is {properties[LABS_SETTING]['default']}, unless `labs` says otherwise.")
    if policy.enforcement_level is EnforcementLevel.ADVISORY:
        settings.append("- It is an advice in production, too.")
    if settings:
        told.append("\n".join(settings) + "\n")
    return "\n".join(told)


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def _severity(policy: Policy) -> str:
    return policy.severity.value if policy.severity else ""


def _shown(default: object) -> str:
    return f"by default {', '.join(map(str, default)) or 'none' if isinstance(default, list) else default}"


def main() -> None:
    """Prints the catalogue, or writes its document."""
    parser = argparse.ArgumentParser(prog="python -m policies.catalogue", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"make docs/{DOCUMENT.name} anew")
    if parser.parse_args().write:
        DOCUMENT.write_text(document(), encoding="utf-8")
    print("\n".join(lines()))


if __name__ == "__main__":
    main()

"""All policies of the pack, in the order of their families, and the page that documents them.

`python -m policies.pack` prints one line for each policy. With `--write` it also writes docs/policies.md.
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
    devices,
    encryption,
    exposure,
    notebooks,
    permissions,
    resource_limits,
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
    resource_limits,
    capacity,
    cost,
    encryption,
    exposure,
    permissions,
    secret_values,
    notebooks,
    devices,
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

What `policies/` refuses, by family. `make policies` generates this page from the policies.

**Production or lab.** In production a violation is an error: preview and up end with an exit status that is not 0. In a
lab a violation is a warning. The stack tag `gpulab:lifecycle`, the AWS tag `Lifecycle` (a default tag of the provider
is enough) or the label `gpulab.dev/lifecycle` of a namespace says which one a stack is: `lab` or `production`. A stack
without any of them is production.

**Configuration.** `pulumi preview --policy-pack policies --policy-pack-config FILE`, with a policy's name as the key:
`{"instance-price": {"enforcementLevel": "advisory", "usdAnHour": 40, "labs": "disabled"}}`. `enforcementLevel` is the
level in production, `labs` the level in a lab. `policies/unlock.json` is for the `up` that removes the protection of a
production stack.

**Not yet known.** A value that a preview can't know is reported as "not yet known", as a warning. `pulumi up` checks it
again.

**Not decided.** Something that no policy can read is reported as "not decided", as a warning. It never counts as
accepted. Examples: a NodePool requirement that our list of instance types has no data about, a text that is not valid
YAML, a setting that a hub makes in Python.

**Profiles.** Policies read the profiles of a JupyterHub release (`singleuser.profileList`), of ConfigMaps with the
label `gpulab.dev/profiles`, and of catalogues of teams and profiles in ConfigMaps with the label
`gpulab.dev/catalogue`. A hub whose pods have the last label (`hub.labels`) starts only what its catalogue lists.
Policies see a release's values merged with the chart's defaults, if the chart is one of
[contracts/charts](../contracts/README.md).
"""


def of_module(module: ModuleType) -> list[Policy]:
    """The policies of a module, in the order in which they are defined."""
    return [value for value in vars(module).values() if isinstance(value, Policy)]


POLICIES: list[Policy] = [policy for family in FAMILIES for policy in of_module(family)]


def lines() -> list[str]:
    """One line for each policy: its name, severity and description."""
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
    facts = [f"Severity {_severity(policy)}", f"checks {scope}"]
    if policy.framework:
        framework = policy.framework
        facts.append(" ".join(filter(None, (framework.name, framework.version, framework.reference))))
    paragraphs = [
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
        settings.append("- The policy is as strict in a lab as in production.")
    elif properties.get(LABS_SETTING, {}).get("default") != "advisory":
        settings.append(
            f"- In a lab the policy is {properties[LABS_SETTING]['default']}, unless `labs` sets another level."
        )
    if policy.enforcement_level is EnforcementLevel.ADVISORY:
        settings.append("- A violation is a warning in production too.")
    if settings:
        paragraphs.append("\n".join(settings) + "\n")
    return "\n".join(paragraphs)


def _wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def _severity(policy: Policy) -> str:
    return policy.severity.value if policy.severity else ""


def _shown(default: object) -> str:
    return f"default: {', '.join(map(str, default)) or 'none' if isinstance(default, list) else default}"


def main() -> None:
    """Prints the list of policies, and writes the page if asked to."""
    parser = argparse.ArgumentParser(prog="python -m policies.pack", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write docs/{DOCUMENT.name}")
    if parser.parse_args().write:
        DOCUMENT.write_text(document(), encoding="utf-8")
    print("\n".join(lines()))


if __name__ == "__main__":
    main()

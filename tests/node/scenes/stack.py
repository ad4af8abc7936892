"""The stack file of the scenes: the example of one machine with small amounts and short times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rehearsal.machine.workspace import PROJECT

STACK = "one-machine"
EXAMPLE = PROJECT / "examples" / f"{STACK}.yaml"
DOMAIN = "lab.example.com"

# The least that a profile may have, so that eight notebooks fit on any machine that runs tests.
_SMALL = {"cpu": 0.25, "memory": 1}
IDLE_SECONDS = 60
"""The shortest idle time that a stack file may have: that of the profile `brief`."""
CULL_SECONDS = 30
REFRESH_SECONDS = 60
"""The hub asks Keycloak about people's groups this often, and no stack file may ask for more."""
MOST_FAILURES = 3
LOCK_SECONDS = 30
SHARES = 8
"""Notebooks that share the only card."""
# A server without JupyterLab and kernels: fifty of them fit on a small machine. The rig has its image.
_LIGHT_IMAGE = "gpulab.test/light-notebook:1"
ABSENT_IMAGE = "quay.io/jupyter/no-such-notebook:2026-08-03"

COMPANY, COMPANY_CLIENT = "company", "gpulab"
"""Another provider of sign-in, and this platform's client there."""
GITHUB, GITHUB_CLIENT, ORGANISATION = "github", "Iv1.gpulab", "example-lab"
"""The provider GitHub, this platform's OAuth app there, and the organisation whose members may sign in."""
SECRETS_NAMESPACE = "gpulab-secrets"


def write(folder: Path) -> Path:
    """Writes the stack file into `folder`, and returns its path."""
    document: Any = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    config = document["config"]
    profiles = config["gpulab:profiles"]
    for profile in profiles.values():
        profile.update(_SMALL)
    profiles["pytorch-share"]["roles"] = ["data-scientist", "project-manager"]
    python = {**profiles["python"], "default": False}
    profiles["brief"] = {**python, "displayName": "Brief", "idle": f"{IDLE_SECONDS}s"}
    profiles["mistyped"] = {**python, "displayName": "Mistyped image", "image": ABSENT_IMAGE}
    profiles["light"] = {**python, "displayName": "Light", "image": _LIGHT_IMAGE, "scratch": 0}
    teams = config["gpulab:teams"]
    for team in teams.values():
        team["profiles"] += ["brief", "mistyped", "light"]
        # Enough for all scenes, which make it smaller where it matters. Each person's home counts from then on.
        team["quota"].update(cpu=16, memory=64, notebooks=60, storage=4000)
    config["gpulab:hub"] = {
        "refreshGroups": f"{REFRESH_SECONDS}s",
        "culling": {"every": f"{CULL_SECONDS}s", "warn": 1},
        # Notebooks and the hub are of different origins, so that none can act as its owner at the hub.
        "subdomains": True,
        "github": {"organizations": [ORGANISATION]},
    }
    config["gpulab:identity"].update(
        bruteForce={"maxFailures": MOST_FAILURES, "lockSeconds": LOCK_SECONDS, "maxLockSeconds": LOCK_SECONDS},
        providers={COMPANY: _company(), GITHUB: _github()},
    )
    path = folder / f"{STACK}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def _github() -> dict[str, Any]:
    """The provider that `octocats.py` plays."""
    secret = {"kubernetesSecret": GITHUB, "namespace": SECRETS_NAMESPACE, "key": "secret"}
    return {"kind": "github", "displayName": "GitHub", "clientId": GITHUB_CLIENT, "clientSecret": secret}


def _company() -> dict[str, Any]:
    """A provider whose people are in the team research: another realm of the same Keycloak (`company.py`)."""
    issuer = f"https://auth.{DOMAIN}/realms/{COMPANY}"
    endpoints = f"{issuer}/protocol/openid-connect"
    return {
        "kind": "oidc",
        "displayName": "The company",
        "clientId": COMPANY_CLIENT,
        "clientSecret": {"kubernetesSecret": COMPANY, "namespace": SECRETS_NAMESPACE, "key": "secret"},
        "trustEmail": True,
        "groups": ["/research/developer"],
        "issuer": issuer,
        "authorizationUrl": f"{endpoints}/auth",
        "tokenUrl": f"{endpoints}/token",
        "keysUrl": f"{endpoints}/certs",
    }

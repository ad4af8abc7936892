"""The steps of signing in with a browser: password, one-time code, and how many sessions a person may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from settings import Identity

# The names of one set of steps must not change: a flow in use can't be removed.
BROWSER_FLOW = "gpulab browser"
_FORMS = "gpulab browser forms"
_OWN_CODE = "gpulab browser one-time code"
_SESSION_LIMIT = "gpulab session limit"


def authentication_flows(identity: Identity) -> list[dict[str, Any]]:
    """Keycloak's own browser flow, with a one-time code for everybody where it is required, and a limit of sessions.

    A required step that a person has not set up yet is set up first, in the same sign-in.
    """
    steps = [_step("auth-username-password-form", "REQUIRED")]
    flows: list[dict[str, Any]] = []
    if identity.totp == "required":
        steps.append(_step("auth-otp-form", "REQUIRED"))
    else:
        steps.append(_subflow(_OWN_CODE, "CONDITIONAL"))
        flows.append(
            _flow(_OWN_CODE, _step("conditional-user-configured", "REQUIRED"), _step("auth-otp-form", "REQUIRED"))
        )
    if identity.sessions.per_person is not None:
        steps.append({**_step("user-session-limits", "REQUIRED"), "authenticatorConfig": _SESSION_LIMIT})
    alternatives = [
        _step("auth-cookie", "ALTERNATIVE"),
        _step("identity-provider-redirector", "ALTERNATIVE"),
        _subflow(_FORMS, "ALTERNATIVE"),
    ]
    return [_flow(BROWSER_FLOW, *alternatives, top_level=True), _flow(_FORMS, *steps), *flows]


def authenticator_configs(identity: Identity) -> list[dict[str, Any]]:
    """The settings of the steps that have some."""
    if identity.sessions.per_person is None:
        return []
    limit = {
        "userRealmLimit": str(identity.sessions.per_person),
        "userClientLimit": "0",
        "behavior": "Terminate oldest session",
    }
    return [{"alias": _SESSION_LIMIT, "config": limit}]


def _flow(alias: str, *executions: dict[str, Any], top_level: bool = False) -> dict[str, Any]:
    return {
        "alias": alias,
        "providerId": "basic-flow",
        "topLevel": top_level,
        "builtIn": False,
        "authenticationExecutions": [
            {**execution, "priority": 10 * number} for number, execution in enumerate(executions, 1)
        ],
    }


def _step(authenticator: str, requirement: str) -> dict[str, Any]:
    return {"authenticator": authenticator, "authenticatorFlow": False, "requirement": requirement}


def _subflow(alias: str, requirement: str) -> dict[str, Any]:
    return {"flowAlias": alias, "authenticatorFlow": True, "requirement": requirement}

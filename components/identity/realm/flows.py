"""The steps of a sign-in with a browser: password, one-time code, and the limit of sessions per person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.identity.realm.people import LOCAL_PASSWORD

if TYPE_CHECKING:
    from settings import Identity

# These names must not change: a flow in use can't be removed.
BROWSER_FLOW = "gpulab browser"
_FORMS = "gpulab browser forms"
_OWN_CODE = "gpulab browser one-time code"
_SESSION_LIMIT = "gpulab session limit"
_NO_PASSWORD = "gpulab browser no password"  # noqa: S105 (the name of a flow)
_WITHOUT_ROLE = "gpulab without local password"
_REFUSAL = "gpulab refusal of a password"


def authentication_flows(identity: Identity) -> list[dict[str, Any]]:
    """Keycloak's own browser flow, with a one-time code for everybody if it is required, and a limit of sessions.

    If a person has not set up a required step, they set it up in the same sign-in. If there are identity providers,
    only people with the role for passwords can use one, however they got it.
    """
    steps = [_step("auth-username-password-form", "REQUIRED")]
    flows: list[dict[str, Any]] = []
    if identity.providers:
        steps.append(_subflow(_NO_PASSWORD, "CONDITIONAL"))
        flows.append(
            _flow(
                _NO_PASSWORD,
                {**_step("conditional-user-role", "REQUIRED"), "authenticatorConfig": _WITHOUT_ROLE},
                {**_step("deny-access-authenticator", "REQUIRED"), "authenticatorConfig": _REFUSAL},
            )
        )
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
    """The settings of the steps that need them."""
    configs: dict[str, dict[str, str]] = {}
    if identity.providers:
        configs[_WITHOUT_ROLE] = {"condUserRole": LOCAL_PASSWORD, "negate": "true"}
        configs[_REFUSAL] = {
            "denyErrorMessage": "Passwords are not for this account: go back, and choose another way to sign in."
        }
    if identity.sessions.per_person is not None:
        configs[_SESSION_LIMIT] = {
            "userRealmLimit": str(identity.sessions.per_person),
            "userClientLimit": "0",
            "behavior": "Terminate oldest session",
        }
    return [{"alias": alias, "config": config} for alias, config in configs.items()]


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

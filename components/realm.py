"""The realm `gpulab`: who may sign in, to what, and how, as one document that keycloak-config-cli applies.

Everything here is a pure function of the stack file. No secret is in the document: where one belongs there is a
placeholder (`realm_secrets.placeholder`), which keycloak-config-cli fills from a file, and `realm_secrets` below says
what each is.

Clients that are not of ours, groups, flows and people that somebody made by hand are left alone: keycloak-config-cli
remembers what it made, and takes away only that. A person's password is set when the account is made, and never again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.realm_clients import OWN_CLIENTS, client_representations, client_scope_mappings, scope_mappings
from components.realm_flows import BROWSER_FLOW, authentication_flows, authenticator_configs
from components.realm_people import initial_password, people
from components.realm_providers import federation, identity_provider_mappers, identity_providers
from components.realm_secrets import client_secret, placeholder, provider_secret
from settings.team_names import ROLES

if TYPE_CHECKING:
    from settings import Identity
    from settings.identity import Mail, PasswordPolicy
    from settings.secret_reference import SecretReference

REALM = "gpulab"

MAIL_PASSWORD = "MAIL_PASSWORD"  # noqa: S105 (the name of a variable)
LDAP_PASSWORD = "LDAP_BIND_PASSWORD"  # noqa: S105 (the name of a variable)

_DAY = 24 * 60 * 60

ROLE_DESCRIPTIONS = {
    "administrator": "Runs the whole platform",
    "project-manager": "Answers for a team: its members, budget and results",
    "data-scientist": "Works in notebooks, with GPUs",
    "developer": "Works in notebooks, without GPUs unless the team grants them",
}


@dataclass(frozen=True)
class Addresses:
    """Where people find the platform: of sign-in, and of everything that is signed in to. No slash at the end."""

    sign_in: str
    platform: str

    @classmethod
    def of(cls, domain: str | None) -> Addresses:
        """Those under a domain, or those on this machine that `kubectl port-forward` leads to."""
        if domain is None:
            return cls("http://localhost:8080", "http://localhost:8000")
        return cls(f"https://auth.{domain}", f"https://platform.{domain}")


def realm(identity: Identity, addresses: Addresses, teams: Collection[str], *, kubectl: bool = False) -> dict[str, Any]:
    """The realm, as Keycloak's `RealmRepresentation`, with a group for each role of each team.

    `teams` are names of teams; those that the identity section names itself need not be among them. With `kubectl`
    people sign in to the Kubernetes API too.
    """
    mail = identity.mail
    sessions = identity.sessions
    locks = identity.brute_force
    retention = identity.events.retention_days * _DAY
    return {
        "realm": REALM,
        "displayName": REALM,
        "enabled": True,
        # Tools in the cluster ask without TLS, from private addresses; everybody else comes through the load balancer.
        "sslRequired": "external",
        "registrationAllowed": False,
        "resetPasswordAllowed": mail is not None,
        "verifyEmail": mail is not None,
        "rememberMe": False,
        "loginWithEmailAllowed": True,
        "duplicateEmailsAllowed": False,
        "editUsernameAllowed": False,
        "passwordPolicy": password_policy(identity.password_policy),
        "bruteForceProtected": True,
        "permanentLockout": False,
        "failureFactor": locks.max_failures,
        "waitIncrementSeconds": locks.lock_seconds,
        "maxFailureWaitSeconds": locks.max_lock_seconds,
        "maxDeltaTimeSeconds": locks.reset_seconds,
        # Two wrong passwords within a second are a machine's.
        "quickLoginCheckMilliSeconds": 1000,
        "minimumQuickLoginWaitSeconds": locks.lock_seconds,
        "otpPolicyType": "totp",
        "otpPolicyCodeReusable": False,
        "ssoSessionIdleTimeout": sessions.idle_minutes * 60,
        "ssoSessionMaxLifespan": sessions.max_hours * 3600,
        "accessTokenLifespan": sessions.access_token_minutes * 60,
        "eventsEnabled": True,
        "eventsExpiration": retention,
        "eventsListeners": ["jboss-logging"],
        "adminEventsEnabled": True,
        # The details would hold what an administrator typed.
        "adminEventsDetailsEnabled": False,
        "attributes": {"adminEventsExpiration": str(retention)},
        "smtpServer": smtp_server(mail) if mail else {},
        # An empty name is Keycloak's own theme.
        "loginTheme": identity.themes.login or "",
        "accountTheme": identity.themes.account or "",
        "emailTheme": identity.themes.email or "",
        "roles": {"realm": [{"name": role, "description": ROLE_DESCRIPTIONS[role]} for role in ROLES]},
        "groups": groups(identity, teams),
        "clients": client_representations(identity, addresses, kubectl=kubectl),
        "scopeMappings": scope_mappings(identity, kubectl=kubectl),
        "clientScopeMappings": client_scope_mappings(identity),
        "authenticationFlows": authentication_flows(identity),
        "authenticatorConfig": authenticator_configs(identity),
        "browserFlow": BROWSER_FLOW,
        "identityProviders": identity_providers(identity, f"{addresses.sign_in}/realms/{REALM}"),
        "identityProviderMappers": identity_provider_mappers(identity),
        "components": {"org.keycloak.storage.UserStorageProvider": federation(identity, LDAP_PASSWORD)},
        "users": people(identity),
    }


def realm_secrets(identity: Identity) -> dict[str, SecretReference | None]:
    """The variable of each secret in the realm, and where the secret lies; None for those that are generated."""
    secrets: dict[str, SecretReference | None] = {client_secret(name): None for name in OWN_CLIENTS}
    secrets |= {client_secret(name): None for name, client in identity.clients.items() if not client.public}
    secrets |= {initial_password(person["username"]): None for person in people(identity)}
    secrets |= {
        provider_secret(name): provider.client_secret
        for name, provider in identity.providers.items()
        if provider.client_secret is not None
    }
    if identity.ldap:
        secrets[LDAP_PASSWORD] = identity.ldap.bind_password
    if identity.mail and identity.mail.password:
        secrets[MAIL_PASSWORD] = identity.mail.password
    return secrets


def groups(identity: Identity, teams: Collection[str]) -> list[dict[str, Any]]:
    """A group for each team, and in it one for each role: `/TEAM/ROLE`.

    Who is in it has the role, `administrator` excepted: a team's administrator is not the platform's. A group of a
    directory lies in the group that it is mapped to.
    """
    within: dict[str, list[str]] = {}
    for name, path in (identity.ldap.groups.mappings if identity.ldap and identity.ldap.groups else {}).items():
        within.setdefault(path, []).append(name)
    return [
        {
            "name": team,
            "path": f"/{team}",
            "subGroups": [
                {
                    "name": role,
                    "path": f"/{team}/{role}",
                    "realmRoles": [role] if role != "administrator" else [],
                    "subGroups": [
                        {"name": name, "path": f"/{team}/{role}/{name}"}
                        for name in sorted(within.get(f"/{team}/{role}", []))
                    ],
                }
                for role in ROLES
            ],
        }
        for team in sorted({*teams, *identity.teams})
    ]


def password_policy(policy: PasswordPolicy) -> str:
    """The policy in Keycloak's notation."""
    counted = {
        "length": policy.min_length,
        "upperCase": policy.upper_case,
        "lowerCase": policy.lower_case,
        "digits": policy.digits,
        "specialChars": policy.special_characters,
        "passwordHistory": policy.history,
        "forceExpiredPasswordChange": policy.max_age_days or 0,
    }
    rules = [f"{name}({number})" for name, number in counted.items() if number]
    return " and ".join([*rules, "notUsername(undefined)", "notContainsUsername(undefined)", "notEmail(undefined)"])


def smtp_server(mail: Mail) -> dict[str, str]:
    """The mail server, as the realm has it."""
    server = {
        "from": mail.sender,
        "fromDisplayName": mail.sender_name or "",
        "replyTo": mail.reply_to or "",
        "host": mail.host,
        "port": str(mail.port),
        "starttls": str(mail.encryption == "starttls").lower(),
        "ssl": str(mail.encryption == "tls").lower(),
        "auth": str(mail.user is not None).lower(),
    }
    if mail.user is not None:
        server |= {"user": mail.user, "password": placeholder(MAIL_PASSWORD)}
    return {name: value for name, value in server.items() if value}

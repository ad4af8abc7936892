"""The realm `gpulab` as one document, which keycloak-config-cli applies: who may sign in, to what, and how.

Everything here is a pure function of the stack file. The document contains placeholders instead of secrets
(`secrets.placeholder`). keycloak-config-cli fills them from files, and `realm_secrets` below lists them.

Clients, roles, groups, flows and directories that people made by hand are kept. keycloak-config-cli remembers which
clients, roles and directories it made, and deletes only those; the stack's groups have a mark (`accounts`). Identity
providers come only from the stack file. `apply_accounts` makes the accounts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from components.identity.realm.accounts import MARK
from components.identity.realm.clients import OWN_CLIENTS, client_representations, client_scope_mappings, scope_mappings
from components.identity.realm.flows import BROWSER_FLOW, authentication_flows, authenticator_configs
from components.identity.realm.people import (
    ADMINISTRATORS_GROUP,
    REALM_ADMINISTRATOR,
    administrator_roles,
    initial_password,
    local_password,
    people,
)
from components.identity.realm.providers import federation, identity_provider_mappers, identity_providers
from components.identity.realm.secrets import client_secret, placeholder, provider_secret
from components.platform_urls import PlatformUrls
from settings.people.names import ROLES

if TYPE_CHECKING:
    from settings import Identity
    from settings.language.secret_reference import SecretReference
    from settings.people.identity import Mail, PasswordPolicy

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


def realm(identity: Identity, urls: PlatformUrls, teams: Collection[str], *, kubectl: bool = False) -> dict[str, Any]:
    """The realm, as Keycloak's `RealmRepresentation`, with a group for each role of each team.

    `teams` are names of teams, in addition to those that the identity section names. With `kubectl`, people sign in to
    the Kubernetes API too.
    """
    mail = identity.mail
    sessions = identity.sessions
    locks = identity.brute_force
    retention = identity.events.retention_days * _DAY
    return {
        "realm": REALM,
        "displayName": REALM,
        "enabled": True,
        # Tools in the cluster connect without TLS, from private addresses; everybody else uses the load balancer.
        "sslRequired": "external",
        "registrationAllowed": False,
        # Otherwise people from a provider could get a password, and keep it after the provider disabled them.
        "resetPasswordAllowed": mail is not None and not identity.providers,
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
        # Two wrong passwords within a second come from a machine.
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
        # The details would contain what administrators type.
        "adminEventsDetailsEnabled": False,
        "attributes": {"adminEventsExpiration": str(retention)},
        "smtpServer": smtp_server(mail) if mail else {},
        # An empty name is Keycloak's own theme.
        "loginTheme": identity.themes.login or "",
        "accountTheme": identity.themes.account or "",
        "emailTheme": identity.themes.email or "",
        "roles": {"realm": roles(identity)},
        "groups": groups(identity, teams),
        "clients": client_representations(identity, urls, kubectl=kubectl),
        "scopeMappings": scope_mappings(identity, kubectl=kubectl),
        "clientScopeMappings": client_scope_mappings(identity),
        "authenticationFlows": authentication_flows(identity),
        "authenticatorConfig": authenticator_configs(identity),
        "browserFlow": BROWSER_FLOW,
        "identityProviders": identity_providers(identity, f"{urls.sign_in}/realms/{REALM}"),
        "identityProviderMappers": identity_provider_mappers(identity),
        "components": {"org.keycloak.storage.UserStorageProvider": federation(identity, LDAP_PASSWORD)},
    }


def realm_secrets(identity: Identity) -> dict[str, SecretReference | None]:
    """The variable of each secret in the realm, and where the secret is stored; None if it is generated."""
    secrets: dict[str, SecretReference | None] = {client_secret(name): None for name in OWN_CLIENTS}
    secrets |= {client_secret(name): None for name, client in identity.clients.items() if not client.public}
    secrets |= {initial_password(person.username): None for person in people(identity)}
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


def roles(identity: Identity) -> list[dict[str, Any]]:
    """The platform's roles, and roles for Keycloak only, which tools never see."""
    administers = {
        "name": REALM_ADMINISTRATOR,
        "description": "Administers this realm in Keycloak's console",
        "composite": True,
        "composites": {"client": {"realm-management": ["realm-admin"]}},
    }
    return [
        *({"name": role, "description": ROLE_DESCRIPTIONS[role]} for role in ROLES),
        administers,
        *(
            {"name": role, "description": "May sign in by a password of this realm"}
            for role in local_password(identity)
        ),
    ]


def groups(identity: Identity, teams: Collection[str]) -> list[dict[str, Any]]:
    """The group of administrators, and a group for each team with one for each role in it: `/TEAM/ROLE`.

    Members have the role, except `administrator`: a team's administrator is not the platform's, unless the stack file
    says so for that group. A group of a directory is inside the group that it is mapped to.
    """
    directory = identity.ldap.groups if identity.ldap else None
    within: dict[str, list[str]] = {}
    for name, path in (directory.mappings if directory else {}).items():
        within.setdefault(path, []).append(name)

    def group(path: str, realm_roles: Collection[str] = (), below: Collection[dict[str, Any]] = ()) -> dict[str, Any]:
        return {
            "name": path.rpartition("/")[2],
            "path": path,
            "attributes": {MARK[0]: [MARK[1]]},
            "realmRoles": list(realm_roles),
            "subGroups": list(below),
        }

    def of_a_role(path: str, role: str) -> dict[str, Any]:
        given = [role] if role != "administrator" else []
        if path in identity.administrator_groups:
            given += ["administrator", REALM_ADMINISTRATOR]
        return group(path, given, [group(f"{path}/{name}") for name in sorted(within.get(path, []))])

    administrators = f"/{ADMINISTRATORS_GROUP}"
    from_directory = sorted(directory.administrators) if directory else []
    return [
        group(
            administrators,
            administrator_roles(identity),
            [group(f"{administrators}/{name}") for name in from_directory],
        ),
        *(
            group(f"/{team}", (), [of_a_role(f"/{team}/{role}", role) for role in ROLES])
            for team in sorted({*teams, *identity.teams})
        ),
    ]


def password_policy(policy: PasswordPolicy) -> str:
    """The password policy in Keycloak's notation."""
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
    """The mail server in the realm's form."""
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

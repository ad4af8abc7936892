"""Other sources of people: identity providers and a directory, and which groups people get from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from components.identity.realm.people import ADMINISTRATORS_GROUP, LOCAL_PASSWORD
from components.identity.realm.secrets import placeholder, provider_secret

if TYPE_CHECKING:
    from settings import Identity
    from settings.people.providers import Ldap, LdapGroups, Provider

ASKED_AGAIN = ("github", "google", "oidc")
"""The kinds of providers that issue a token, with which they can be asked again later. SAML providers don't."""

# Keycloak's client whose role opens the tokens that providers gave ("Retrieving external IDP tokens").
BROKER, READ_TOKEN = "broker", "read-token"

# Seconds. Keycloak refreshes a stored token that expires earlier than this, so it does at each request. It adds this to
# the current time in 32 bits, so some years would overflow.
_ALWAYS_REFRESHED = 30 * 24 * 3600

# The group mappers of OpenID Connect and SAML, and their setting for the values to compare.
_MAPPED = {
    "oidc": ("oidc-advanced-group-idp-mapper", "claims"),
    "saml": ("saml-advanced-group-idp-mapper", "attributes"),
}


def identity_providers(identity: Identity, realm_url: str) -> list[dict[str, Any]]:
    """The realm's identity providers. `realm_url` is the realm's address, which is its entity ID for SAML providers."""
    return [
        {
            "alias": name,
            "displayName": provider.display_name or name,
            "providerId": provider.kind,
            "enabled": True,
            # If anybody could claim an e-mail address, anybody could take over an account.
            "trustEmail": provider.kind == "google" or provider.trust_email,
            # With the person's token, the hub asks whether the provider still knows them.
            "storeToken": provider.kind in ASKED_AGAIN,
            "authenticateByDefault": False,
            "linkOnly": False,
            "firstBrokerLoginFlowAlias": "first broker login",
            "config": {"syncMode": "IMPORT", **_config(name, provider, realm_url)},
        }
        for name, provider in sorted(identity.providers.items())
    ]


def identity_provider_mappers(identity: Identity) -> list[dict[str, Any]]:
    """Which groups people get when they first sign in with a provider. Later an administrator decides.

    The role that gives access to the provider's token is set at each sign-in, so that older accounts get it too.
    """
    return [
        mapper
        for alias, provider in sorted(identity.providers.items())
        for mapper in (
            *([_reads_token(alias)] if provider.kind in ASKED_AGAIN else []),
            *(_provider_mapper(alias, *mapped) for mapped in _mapped_groups(provider)),
        )
    ]


def _reads_token(alias: str) -> dict[str, Any]:
    return {
        "name": READ_TOKEN,
        "identityProviderAlias": alias,
        "identityProviderMapper": "oidc-hardcoded-role-idp-mapper",
        "config": {"syncMode": "FORCE", "role": f"{BROKER}.{READ_TOKEN}"},
    }


def _mapped_groups(provider: Provider) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """The name, kind, group and settings of each mapper of a provider."""
    for group in provider.groups:
        yield f"everybody {group}", "oidc-hardcoded-group-idp-mapper", group, {}
    for value, group in provider.group_mappings.items():
        kind, key = _MAPPED[provider.kind]
        compared = json.dumps([{"key": provider.group_attribute, "value": value}])
        yield f"{value} {group}", kind, group, {key: compared, f"are.{key.removesuffix('s')}.values.regex": "false"}


def federation(identity: Identity, password: str) -> list[dict[str, Any]]:
    """The directory, if there is one. `password` is the variable with the password that Keycloak binds with."""
    ldap = identity.ldap
    if ldap is None:
        return []
    config = {
        "enabled": "true",
        "priority": "0",
        "editMode": "READ_ONLY",
        "importEnabled": "true",
        "syncRegistrations": "false",
        "vendor": ldap.vendor,
        "connectionUrl": " ".join(url.strip() for url in ldap.url.split(",")),
        "startTls": "false",
        "useTruststoreSpi": "always",
        "authType": "simple",
        "bindDn": ldap.bind_dn,
        "bindCredential": placeholder(password),
        "usersDn": ldap.users,
        "usernameLDAPAttribute": ldap.username_attribute,
        "rdnLDAPAttribute": "cn" if ldap.vendor == "ad" else ldap.username_attribute,
        "uuidLDAPAttribute": ldap.uuid_attribute,
        "userObjectClasses": ", ".join(ldap.object_classes),
        "searchScope": "2",
        "pagination": "true",
        "connectionPooling": "true",
        "connectionTimeout": "5000",
        "readTimeout": "10000",
        "trustEmail": "true",
        "validatePasswordPolicy": "false",
        "batchSizeForSync": "1000",
        "fullSyncPeriod": "-1",
        "changedSyncPeriod": "-1",
        # Keycloak notices within a minute that somebody was disabled or left a group, not only when the cache is full.
        "cachePolicy": "MAX_LIFESPAN",
        "maxLifespan": "60000",
    }
    if ldap.filter is not None:
        config["customUserSearchFilter"] = ldap.filter
    mappers = _group_mappers(ldap, ldap.groups) if ldap.groups else []
    if identity.providers:
        # People from a directory sign in with their password there.
        mappers.append(
            {
                "name": LOCAL_PASSWORD,
                "providerId": "hardcoded-ldap-role-mapper",
                "config": _lists({"role": LOCAL_PASSWORD}),
            }
        )
    return [
        {
            "name": "ldap",
            "providerId": "ldap",
            "config": _lists(config),
            "subComponents": {"org.keycloak.storage.ldap.mappers.LDAPStorageMapper": mappers},
        }
    ]


def directory_groups(identity: Identity | None) -> dict[str, str]:
    """The directory's groups by their path in Keycloak, `/TEAM/ROLE/NAME`, each with the `/TEAM/ROLE` that it means.

    The claims of a member name that path, not the one above it.
    """
    groups = identity.ldap.groups if identity and identity.ldap else None
    return {f"{path}/{name}": path for name, path in groups.mappings.items()} if groups else {}


def _group_mappers(ldap: Ldap, groups: LdapGroups) -> list[dict[str, Any]]:
    """A mapper for each group of the directory, which finds the group by name and puts it below its role."""
    mapped = [(f"group {name}", name, path) for name, path in sorted(groups.mappings.items())]
    administer = [
        (f"administrators {name}", name, f"/{ADMINISTRATORS_GROUP}") for name in sorted(groups.administrators)
    ]
    return [
        {
            "name": mapper,
            "providerId": "group-ldap-mapper",
            "config": _lists(
                {
                    "mode": "READ_ONLY",
                    "groups.dn": groups.base,
                    "groups.ldap.filter": f"({groups.name_attribute}={name})",
                    "groups.path": path,
                    "group.name.ldap.attribute": groups.name_attribute,
                    "group.object.classes": groups.object_class,
                    "membership.ldap.attribute": groups.member_attribute,
                    "membership.attribute.type": "DN",
                    "membership.user.ldap.attribute": ldap.username_attribute,
                    "user.roles.retrieve.strategy": "LOAD_GROUPS_BY_MEMBER_ATTRIBUTE",
                    "preserve.group.inheritance": "false",
                    "ignore.missing.groups": "false",
                    "drop.non.existing.groups.during.sync": "false",
                }
            ),
        }
        for mapper, name, path in (*mapped, *administer)
    ]


def _config(name: str, provider: Provider, realm_url: str) -> dict[str, str]:
    ours = {"clientId": provider.client_id or "", "clientSecret": placeholder(provider_secret(name))}
    match provider.kind:
        case "github":
            return {**ours, "defaultScope": "user:email read:org"}
        case "google":
            return {
                **ours,
                "hostedDomain": provider.hosted_domain or "",
                "defaultScope": "openid profile email",
                # Without it, Google does not issue a refresh token.
                "offlineAccess": "true",
                "minValidityToken": str(_ALWAYS_REFRESHED),
            }
        case "oidc":
            return {
                **ours,
                "issuer": provider.issuer or "",
                "authorizationUrl": provider.authorization_url or "",
                "tokenUrl": provider.token_url or "",
                "jwksUrl": provider.keys_url or "",
                "useJwksUrl": "true",
                "validateSignature": "true",
                "clientAuthMethod": "client_secret_post",
                "pkceEnabled": "true",
                "pkceMethod": "S256",
                "defaultScope": "openid profile email" + (" offline_access" if provider.offline_access else ""),
                "minValidityToken": str(_ALWAYS_REFRESHED),
            }
        case "saml":
            return {
                "entityId": realm_url,
                "idpEntityId": provider.entity_id or "",
                "singleSignOnServiceUrl": provider.sign_on_url or "",
                "signingCertificate": "".join((provider.certificate or "").split()),
                "validateSignature": "true",
                "wantAssertionsSigned": "true",
                "postBindingAuthnRequest": "true",
                "postBindingResponse": "true",
                "nameIDPolicyFormat": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
                "principalType": "SUBJECT",
            }


def _provider_mapper(alias: str, name: str, kind: str, group: str, config: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "identityProviderAlias": alias,
        "identityProviderMapper": kind,
        "config": {"syncMode": "IMPORT", "group": group, **config},
    }


def _lists(config: dict[str, str]) -> dict[str, list[str]]:
    """A component's settings; in Keycloak each one is a list."""
    return {name: [value] for name, value in config.items()}

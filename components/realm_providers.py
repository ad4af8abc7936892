"""Who else vouches for people: identity providers, and a directory. And which groups people get by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from components.realm_secrets import placeholder, provider_secret

if TYPE_CHECKING:
    from settings import Identity
    from settings.identity_providers import Ldap, LdapGroups, Provider

# The group mappers of OpenID Connect and of SAML, and what they call the values to compare with.
_MAPPED = {
    "oidc": ("oidc-advanced-group-idp-mapper", "claims"),
    "saml": ("saml-advanced-group-idp-mapper", "attributes"),
}


def identity_providers(identity: Identity, realm_url: str) -> list[dict[str, Any]]:
    """The providers. `realm_url` is the realm's own address, by which a SAML provider knows it."""
    return [
        {
            "alias": name,
            "displayName": provider.display_name or name,
            "providerId": provider.kind,
            "enabled": True,
            # With an e-mail address that anybody may claim, an account would be anybody's.
            "trustEmail": provider.kind == "google" or provider.trust_email,
            # Organisation and teams are asked for with the person's own token, by the tool that admits the person.
            "storeToken": provider.kind == "github",
            "addReadTokenRoleOnCreate": provider.kind == "github",
            "authenticateByDefault": False,
            "linkOnly": False,
            "firstBrokerLoginFlowAlias": "first broker login",
            "config": {"syncMode": "IMPORT", **_config(name, provider, realm_url)},
        }
        for name, provider in sorted(identity.providers.items())
    ]


def identity_provider_mappers(identity: Identity) -> list[dict[str, Any]]:
    """Which groups a person gets who signs in by a provider for the first time. Later an administrator decides."""
    return [
        _provider_mapper(alias, *mapped)
        for alias, provider in sorted(identity.providers.items())
        for mapped in _mapped_groups(provider)
    ]


def _mapped_groups(provider: Provider) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """The name, the kind, the group and the settings of each mapper of a provider."""
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
        "cachePolicy": "DEFAULT",
    }
    if ldap.filter is not None:
        config["customUserSearchFilter"] = ldap.filter
    mappers = _group_mappers(ldap, ldap.groups) if ldap.groups else []
    return [
        {
            "name": "ldap",
            "providerId": "ldap",
            "config": _lists(config),
            "subComponents": {"org.keycloak.storage.ldap.mappers.LDAPStorageMapper": mappers},
        }
    ]


def directory_groups(identity: Identity | None) -> dict[str, str]:
    """The directory's groups as Keycloak names them, `/TEAM/ROLE/NAME`, each with the `/TEAM/ROLE` that it stands for.

    The claims of who is in one name that group, and not the one above it.
    """
    groups = identity.ldap.groups if identity and identity.ldap else None
    return {f"{path}/{name}": path for name, path in groups.mappings.items()} if groups else {}


def _group_mappers(ldap: Ldap, groups: LdapGroups) -> list[dict[str, Any]]:
    """One for each group of the directory: it is found by its name, and put below the role that it stands for."""
    return [
        {
            "name": f"group {name}",
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
        for name, path in sorted(groups.mappings.items())
    ]


def _config(name: str, provider: Provider, realm_url: str) -> dict[str, str]:
    ours = {"clientId": provider.client_id or "", "clientSecret": placeholder(provider_secret(name))}
    match provider.kind:
        case "github":
            return {**ours, "defaultScope": "user:email read:org"}
        case "google":
            return {**ours, "hostedDomain": provider.hosted_domain or "", "defaultScope": "openid profile email"}
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
                "defaultScope": "openid profile email",
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
    """A component's settings: each is a list in Keycloak."""
    return {name: [value] for name, value in config.items()}

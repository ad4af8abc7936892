"""`gpulab:identity.providers` and `.ldap`: who else may vouch for a person, and which groups the person gets by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StrictBool

from settings.language.secret_reference import Secret
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import DISTINCT, at_least_one, matching
from settings.people.values import Domain, GroupPath, HttpsUrl

# What each kind needs beside `kind`, and what it may have beside that and `displayName`.
_NEEDED = {
    "github": ("clientId", "clientSecret"),
    "google": ("clientId", "clientSecret", "hostedDomain"),
    "oidc": ("clientId", "clientSecret", "issuer", "authorizationUrl", "tokenUrl", "keysUrl"),
    "saml": ("entityId", "signOnUrl", "certificate"),
}
_ALLOWED = {
    "github": (),
    "google": ("groups",),
    "oidc": ("groups", "groupAttribute", "groupMappings", "trustEmail", "offlineAccess"),
    "saml": ("groups", "groupAttribute", "groupMappings", "trustEmail"),
}
_FOR_ANYBODY = "anyone may sign up at GitHub, and GitHub cannot limit a sign-in to an organisation"
_WHY_NOT = {"github": dict.fromkeys(("groups", "groupMappings"), _FOR_ANYBODY)}

Text = Annotated[str, matching(r"[^\x00-\x1f$]{1,255}", "a line of text, without $")]
"""Text that goes into the realm unchanged; `$(` would be a placeholder there."""

DistinguishedName = Annotated[
    str, matching(r"[A-Za-z][\w.-]*=[^=$]+(,\s*[A-Za-z][\w.-]*=[^=$]+)*", "a distinguished name such as ou=people,dc=x")
]


class Provider(Section):
    """An identity provider through which people may sign in instead of with a password."""

    kind: Literal["github", "google", "oidc", "saml"] = Field(
        description="github, google (one hosted domain), oidc (any OpenID Connect provider) or saml."
    )
    display_name: Text | None = Field(default=None, description="What the button of the sign-in page says.")
    client_id: Text | None = Field(default=None, description="github, google, oidc: the client's id at the provider.")
    client_secret: Secret | None = Field(
        default=None, description="github, google, oidc: where the client's secret is."
    )
    hosted_domain: Domain | None = Field(
        default=None, description="google: the Workspace domain; only its accounts may sign in."
    )
    issuer: HttpsUrl | None = Field(
        default=None, description="oidc: the issuer, as the provider's /.well-known/openid-configuration has it."
    )
    authorization_url: HttpsUrl | None = Field(default=None, description="oidc: authorization_endpoint from there.")
    token_url: HttpsUrl | None = Field(default=None, description="oidc: token_endpoint from there.")
    keys_url: HttpsUrl | None = Field(default=None, description="oidc: jwks_uri from there.")
    entity_id: Text | None = Field(default=None, description="saml: the identity provider's entity id.")
    sign_on_url: HttpsUrl | None = Field(default=None, description="saml: where people sign in.")
    certificate: (
        Annotated[str, matching(r"[A-Za-z0-9+/=\s]{64,}", "a certificate in base64, without its BEGIN and END lines")]
        | None
    ) = Field(default=None, description="saml: the certificate that the provider signs with, base64; a public one.")
    trust_email: StrictBool = Field(
        default=False, description="oidc, saml: whether the provider has verified its people's e-mail addresses."
    )
    offline_access: StrictBool = Field(
        default=False,
        description="oidc: also asks for the scope offline_access. Microsoft Entra ID and Okta give a refresh token"
        " only with it. The hub needs that token to notice that they have disabled somebody.",
    )
    groups: Annotated[tuple[GroupPath, ...], DISTINCT] = Field(
        default=(), description="Groups, /TEAM/ROLE, that everybody gets at the first sign-in through this provider."
    )
    group_attribute: Text = Field(
        default="groups", description="oidc: the claim, saml: the attribute that holds the provider's own groups."
    )
    group_mappings: dict[Text, GroupPath] = Field(
        default={}, description="oidc, saml: the group, /TEAM/ROLE, that a member of the provider's group gets."
    )

    @property
    def all_groups(self) -> tuple[str, ...]:
        """Every group that somebody may get through this provider."""
        return (*self.groups, *self.group_mappings.values())

    @rule
    def _what_the_kind_needs(self, facts: Facts) -> Findings:
        names = {info.alias: name for name, info in type(self).model_fields.items() if info.alias}
        for key in _NEEDED[self.kind]:
            if getattr(self, names[key]) is None:
                yield (key,), f"is missing: {self.kind} needs it"
        allowed = ("kind", "displayName", *_NEEDED[self.kind], *_ALLOWED[self.kind])
        for key in sorted(names.keys() - {*allowed}):
            given = getattr(self, names[key])
            if given and given != type(self).model_fields[names[key]].default:
                reason = _WHY_NOT.get(self.kind, {}).get(key, "it has no effect there")
                yield (key,), f"is not for {self.kind}: {reason}, leave it out"


DirectoryGroup = Annotated[str, matching(r"[\w .-]{1,64}", "a group's name of letters, digits, spaces, . _ and -")]


class LdapGroups(Section):
    """Which groups of the directory stand for which roles of which teams."""

    base: DistinguishedName = Field(description="Where the groups are in the directory, a distinguished name.")
    name_attribute: Text = Field(default="cn", description="The attribute that names a group.")
    object_class: Text = Field(default="groupOfNames", description="The object class of groups; AD: group.")
    member_attribute: Text = Field(default="member", description="The attribute that holds a member's name.")
    mappings: dict[DirectoryGroup, GroupPath] = Field(
        default={}, description="The group, /TEAM/ROLE, that the members of the directory's group belong to."
    )
    administrators: Annotated[tuple[DirectoryGroup, ...], DISTINCT] = Field(
        default=(), description="Groups of the directory whose members administer people and roles."
    )

    @rule
    def _some_group(self, facts: Facts) -> Findings:
        if not self.mappings and not self.administrators:
            yield ("mappings",), "names no group, and administrators names none either: name one, or leave groups out"


class Ldap(Section):
    """A directory (LDAP, Active Directory) whose people sign in with their password there. It is only read."""

    url: Annotated[str, matching(r"\S+", "an address without spaces")] = Field(
        description="ldaps:// addresses of the directory's servers; separate several by commas."
    )
    vendor: Literal["ad", "other"] = Field(description="ad for Active Directory, other for OpenLDAP and the like.")
    bind_dn: DistinguishedName = Field(description="The name that Keycloak binds as; it only needs to read.")
    bind_password: Secret = Field(description="Where the password of that name is.")
    users: DistinguishedName = Field(description="Where the people are in the directory, a distinguished name.")
    username_attribute: Text = Field(
        default="uid",
        description="The attribute that names a person; by default uid, in Active Directory sAMAccountName.",
    )
    uuid_attribute: Text = Field(
        default="entryUUID", description="The attribute that never changes; by default entryUUID, in AD objectGUID."
    )
    object_classes: Annotated[tuple[Text, ...], DISTINCT, at_least_one("object class")] = Field(
        default=("inetOrgPerson", "organizationalPerson"), description="The object classes that a person has."
    )
    filter: Annotated[str, matching(r"\([^$]+\)", "a filter in parentheses, such as (memberOf=cn=ml,dc=x)")] | None = (
        Field(default=None, description="A filter that a person must pass, in parentheses.")
    )
    groups: LdapGroups | None = Field(default=None, description="Which of the directory's groups give which role.")

    @property
    def all_groups(self) -> tuple[str, ...]:
        """Every group that somebody may get through the directory."""
        return tuple(self.groups.mappings.values()) if self.groups else ()

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Active Directory has other names for its attributes."""
        if given.get("vendor") != "ad":
            return given
        directory = {
            "usernameAttribute": "sAMAccountName",
            "uuidAttribute": "objectGUID",
            "objectClasses": ("person", "organizationalPerson", "user"),
        }
        return {**directory, **given}

    @rule
    def _over_tls(self, facts: Facts) -> Findings:
        for address in self.url.split(","):
            parts = urlsplit(address)
            if parts.scheme != "ldaps" or not parts.hostname:
                yield (
                    ("url",),
                    "must begin with ldaps://, in every address: without TLS passwords would cross the network in plain"
                    " text",
                )
                return

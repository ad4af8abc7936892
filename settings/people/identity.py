"""`gpulab:identity`: how people sign in. Keycloak, its database, its realm, and who vouches for people.

Secrets are generated, or they are kept elsewhere and named here (`settings.language.secret_reference`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StrictBool, StrictInt

from settings.ingress import PLATFORM
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import DISTINCT, Check, at_least_one, matching, repeated, whole, without_default
from settings.people.database import Database
from settings.people.providers import Ldap, Provider, Text
from settings.people.realm import BruteForce, Events, Mail, PasswordPolicy, Sessions, Themes
from settings.people.trust import Trust
from settings.people.values import Administrator, Email, GroupPath, Role, UserName, team_of

OWN_CLIENTS = ("jupyterhub", "grafana")
"""The clients that the platform registers itself."""

KUBERNETES_CLIENT = "kubernetes"
"""The client of kubectl, where the Kubernetes API knows the platform's sign-in (`cluster.oidc`)."""

# Clients that every realm has ("Server Administration Guide", Keycloak).
_KEYCLOAK_CLIENTS = ("account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console")
_NAME = r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?"


def _redirect_uri(uri: str) -> str:
    parts = urlsplit(uri)
    if "*" in uri:
        raise ValueError("must be exact: with a wildcard, a sign-in code could be sent to an attacker's page")
    if parts.fragment or "@" in parts.netloc or not parts.path.startswith("/") or any(map(str.isspace, uri)):
        raise ValueError("must be an address with a path, without user, fragment or spaces")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname == "localhost"):
        raise ValueError("must begin with https:// (http://localhost is for tools that are reached by port-forward)")
    return uri


RedirectUri = Annotated[str, Check(_redirect_uri)]
ClientName = Annotated[
    str, matching(_NAME, "at most 40 lower-case letters, digits and hyphens, beginning with a letter")
]

DATABASE = "keycloak"
"""The end of the database's name, after the cluster's name."""

BACKUPS_TAG = "gpulab.dev/backups-of"
"""The tag of a bucket with backups of a database in the cluster; its value names the database."""

FINAL_SNAPSHOT = "-final-"
"""What follows a database's name in the name of its last snapshot, before a suffix that differs each time."""


class Client(Section):
    """Another tool that people sign in to with the same account: an OpenID Connect client."""

    redirect_uris: Annotated[tuple[RedirectUri, ...], DISTINCT, at_least_one("address")] = Field(
        description="Where sign-in codes may be sent; exact addresses within the domain."
    )
    post_logout_redirect_uris: Annotated[tuple[RedirectUri, ...], DISTINCT] = Field(
        default=(), description="Where people may go after they sign out; exact addresses within the domain."
    )
    public: StrictBool = Field(
        default=False,
        description="Whether the tool cannot keep a secret, such as a web page: only PKCE protects its codes.",
    )


class SeedUser(Section):
    """A person that a lab starts with. The first password is generated, works once, and is in a Kubernetes Secret."""

    email: Email = Field(description="The person's e-mail address.")
    first_name: Text = Field(description="First name.")
    last_name: Text = Field(description="Last name.")
    roles: Annotated[tuple[Role, ...], DISTINCT] = Field(
        default=(), description="Roles on the whole platform, beside those of the groups."
    )
    groups: Annotated[tuple[GroupPath, ...], DISTINCT] = Field(default=(), description="Groups, /TEAM/ROLE.")


class Server(Section):
    """Keycloak's pods."""

    replicas: Annotated[StrictInt, whole(1, 5)] = Field(
        default=1, description="Pods; 1 by default, in production 2.", json_schema_extra=without_default
    )
    memory: Annotated[StrictInt, whole(1, 32, "GiB")] = Field(
        default=2, description="GiB of memory of a pod; the Java heap is 65 % of it."
    )
    image: (
        Annotated[str, matching(r"[a-z0-9.-]+(:[0-9]+)?(/[\w.-]+)+", "an image's name without tag or digest")] | None
    ) = Field(default=None, description="An image of yours with further themes, tagged with Keycloak's version.")

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """In production sign-in keeps working while a node is replaced."""
        return {"replicas": 2, **given} if facts.production else given


class Identity(Section):
    """One sign-in for every tool of the platform."""

    administrators: Annotated[tuple[Administrator, ...], DISTINCT] = Field(
        default=(),
        description="Who administers people and roles. An e-mail address: the account that has it, verified or from the"
        " directory; without one, an account is made, with a first password that works once. A user name: that account,"
        " which must exist. /TEAM/ROLE: everybody in that group. For groups of a directory use"
        " ldap.groups.administrators.",
    )
    clients: dict[ClientName, Client] = Field(
        default={}, description="Other tools that people sign in to, by client id."
    )
    providers: dict[ClientName, Provider] = Field(
        default={}, description="Who else may vouch for people (GitHub, Google, OIDC, SAML), by name."
    )
    ldap: Ldap | None = Field(default=None, description="A directory whose people sign in with their password there.")
    trust: Trust | None = Field(
        default=None, description="Your own certificate authorities that Keycloak trusts, such as a directory's."
    )
    password_policy: PasswordPolicy = Field(default=PasswordPolicy(), description="What a password must be.")
    brute_force: BruteForce = Field(default=BruteForce(), description="What happens after wrong passwords.")
    totp: Literal["optional", "required"] = Field(
        default="optional", description="One-time codes from an app beside the password: optional, or for everybody."
    )
    sessions: Sessions = Field(default=Sessions(), description="How long a sign-in lasts.")
    events: Events = Field(default=Events(), description="The log of sign-ins and changes.")
    mail: Mail | None = Field(default=None, description="The mail server; none: Keycloak sends no mail.")
    themes: Themes = Field(default=Themes(), description="The looks of Keycloak's pages.")
    seed_users: dict[UserName, SeedUser] = Field(
        default={}, description="People that a lab starts with, by user name; not for production."
    )
    database: Database = Field(default=Database(), description="The PostgreSQL server.")
    keycloak: Server = Field(default=Server(), description="Keycloak's pods.")

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Completes the parts whose defaults depend on the lifecycle, even when they are not given."""
        return {"database": {}, "keycloak": {}, **given}

    @property
    def administrator_emails(self) -> tuple[str, ...]:
        """The administrators who are named by e-mail address."""
        return tuple(one for one in self.administrators if "@" in one)

    @property
    def administrator_groups(self) -> tuple[str, ...]:
        """The groups, /TEAM/ROLE, whose members are administrators."""
        return tuple(one for one in self.administrators if one.startswith("/"))

    @property
    def administrator_names(self) -> tuple[str, ...]:
        """The administrators who are named by user name."""
        groups_and_emails = {*self.administrator_groups, *self.administrator_emails}
        return tuple(one for one in self.administrators if one not in groups_and_emails)

    @property
    def teams(self) -> tuple[str, ...]:
        """The teams whose groups this section names, in the order of their names."""
        return tuple(sorted({team_of(group) for _, group in self._groups()}))

    def _groups(self) -> Iterator[tuple[str, str]]:
        yield from (("administrators", group) for group in self.administrator_groups)
        for name, provider in self.providers.items():
            yield from ((name, group) for group in provider.all_groups)
        yield from (("ldap", group) for group in (self.ldap.all_groups if self.ldap else ()))
        for name, user in self.seed_users.items():
            yield from ((name, group) for group in user.groups)

    @rule
    def _client_ids_that_are_free(self, facts: Facts) -> Findings:
        for name in self.clients:
            if name in (*OWN_CLIENTS, KUBERNETES_CLIENT):
                yield ("clients", name), "is a client that the platform registers itself: choose another name"
            elif name in _KEYCLOAK_CLIENTS:
                yield ("clients", name), "is a client of Keycloak's own: choose another name"

    @rule
    def _seed_users_only_for_labs(self, facts: Facts) -> Findings:
        if facts.production and self.seed_users:
            yield (
                ("seedUsers",),
                "are for labs: in production people come from a provider, from a directory or by an administrator",
            )

    @rule
    def _somebody_who_administers(self, facts: Facts) -> Findings:
        if not self.administrators and not (self.ldap and self.ldap.groups and self.ldap.groups.administrators):
            yield ("administrators",), "needs at least one e-mail address, user name or group"

    @rule
    def _one_account_a_person(self, facts: Facts) -> Findings:
        administrators = [email.lower() for email in self.administrator_emails]
        for index, name in enumerate(self.administrators):
            if name.lower() in repeated(administrators):
                yield (
                    ("administrators", index),
                    "is there twice, as upper and lower case are the same in an e-mail address: leave one out",
                )
        emails = [user.email.lower() for user in self.seed_users.values()]
        for name, user in self.seed_users.items():
            if user.email.lower() in administrators:
                yield ("seedUsers", name, "email"), "is an administrator's, who gets an account anyway: leave one out"
            elif user.email.lower() in repeated(emails):
                yield ("seedUsers", name, "email"), "is the e-mail address of another seed user too"
            elif name in (*administrators, *(email for email in emails if email != user.email.lower())):
                yield ("seedUsers", name), "is the e-mail address of somebody else: choose another user name"

    @rule
    def _names_of_providers(self, facts: Facts) -> Findings:
        for name in self.providers:
            if name == "ldap":
                yield ("providers", name), "is the directory's name: choose another"


def account_findings(identity: Identity) -> Findings:
    """Administrators who have no account in a new realm. Only a warning, because an older realm may have them."""
    names, groups = {*identity.administrator_names}, {*identity.administrator_groups}
    seeds = any(name in names or groups & {*user.groups} for name, user in identity.seed_users.items())
    if not (identity.administrator_emails or identity.providers or identity.ldap or seeds):
        yield (
            ("identity", "administrators"),
            "have no account in a new realm: they come from no provider and no directory, and are no seed users. Add an"
            " e-mail address, for which an account is made",
        )


def domain_findings(identity: Identity, domain: str | None, *, has_subdomains: bool) -> Findings:
    """Addresses that Keycloak could not send people back to, with or without a domain; paths are the stack's.

    `has_subdomains`: people's notebooks are at names below the platform's.
    """
    if domain is None and identity.providers:
        yield ("identity", "providers"), "need gpulab:ingress.domain: a provider sends people back to a public address"
    for name, client in identity.clients.items():
        for key, uris in (
            ("redirectUris", client.redirect_uris),
            ("postLogoutRedirectUris", client.post_logout_redirect_uris),
        ):
            for index, uri in enumerate(uris):
                host = urlsplit(uri).hostname or ""
                path = ("identity", "clients", name, key, index)
                if domain is None and host != "localhost":
                    yield path, "must begin with http://localhost, as there is no gpulab:ingress.domain"
                elif domain is not None and not f".{host}".endswith(f".{domain}"):
                    yield path, f"is outside of the domain {domain}: sign-in codes go only to tools within it"
                elif has_subdomains and host.endswith(f".{PLATFORM}.{domain}"):
                    yield path, f"is below {PLATFORM}.{domain}, where notebooks are: give the tool another name"

"""`gpulab:identity`: how people sign in. Keycloak, its database, its realm, and who vouches for people.

Secrets are generated, or lie elsewhere and are named here (`settings.secret_reference`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StrictBool, StrictInt

from settings.identity_providers import Ldap, Provider, Text
from settings.identity_values import Email, GroupPath, HostName, Role, team_of
from settings.ingress import Ingress
from settings.keycloak_database import Database
from settings.secret_reference import Secret
from settings.section import Facts, Findings, Section, rule
from settings.values import DISTINCT, Check, at_least_one, matching, repeated, whole, without_default

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
        raise ValueError("must be exact: with a wildcard, a code could be sent wherever somebody finds a way")
    if parts.fragment or "@" in parts.netloc or not parts.path.startswith("/") or any(map(str.isspace, uri)):
        raise ValueError("must be an address with a path, without user, fragment or spaces")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname == "localhost"):
        raise ValueError("must begin with https:// (http://localhost is for what is reached by port-forward)")
    return uri


RedirectUri = Annotated[str, Check(_redirect_uri)]
ClientName = Annotated[str, matching(_NAME, "lower-case letters, digits and hyphens, a letter first, 40 at most")]
UserName = Annotated[str, matching(r"[a-z0-9][a-z0-9._@-]{0,62}", "lower-case letters, digits and . _ @ -")]

DATABASE = "keycloak"
"""What follows the cluster's name in that of Keycloak's database."""

BACKUPS_TAG = "gpulab.dev/backups-of"
"""The tag of a bucket with backups of a database in the cluster: whose they are."""

FINAL_SNAPSHOT = "-final-"
"""What follows a database's name in that of its last snapshot, before an end that differs each time."""


class Client(Section):
    """A further tool that people sign in to with the same account: an OpenID Connect client."""

    redirect_uris: Annotated[tuple[RedirectUri, ...], DISTINCT, at_least_one("address")] = Field(
        description="Where a code may be sent back to; exact addresses within the domain."
    )
    post_logout_redirect_uris: Annotated[tuple[RedirectUri, ...], DISTINCT] = Field(
        default=(), description="Where people may land after they signed out; exact addresses within the domain."
    )
    public: StrictBool = Field(
        default=False, description="A tool that can keep no secret, such as a page: PKCE alone protects its codes."
    )


class PasswordPolicy(Section):
    """What a password must be. It never equals or contains the user name, nor equals the e-mail address."""

    min_length: Annotated[StrictInt, whole(8, 128, "characters")] = Field(default=12, description="Least length.")
    upper_case: Annotated[StrictInt, whole(0, 8)] = Field(default=1, description="Upper-case letters, at least.")
    lower_case: Annotated[StrictInt, whole(0, 8)] = Field(default=1, description="Lower-case letters, at least.")
    digits: Annotated[StrictInt, whole(0, 8)] = Field(default=1, description="Digits, at least.")
    special_characters: Annotated[StrictInt, whole(0, 8)] = Field(default=0, description="Other signs, at least.")
    history: Annotated[StrictInt, whole(0, 24)] = Field(default=3, description="Last passwords that are refused.")
    max_age_days: Annotated[StrictInt, whole(1, 3650, "days")] | None = Field(
        default=None, description="Days after which a new password is due; none: never, as NIST SP 800-63B advises."
    )


class BruteForce(Section):
    """What happens to an account at which passwords are guessed."""

    max_failures: Annotated[StrictInt, whole(2, 100)] = Field(
        default=5, description="Wrong passwords after which the account is locked for a while."
    )
    lock_seconds: Annotated[StrictInt, whole(1, 86400, "seconds")] = Field(
        default=60, description="Seconds of the first lock; each further one is longer by as much."
    )
    max_lock_seconds: Annotated[StrictInt, whole(1, 86400, "seconds")] = Field(
        default=900, description="Seconds that a lock lasts at most."
    )
    reset_seconds: Annotated[StrictInt, whole(60, 604800, "seconds")] = Field(
        default=43200, description="Seconds without a wrong password after which counting begins anew."
    )

    @rule
    def _first_lock_within_the_longest(self, facts: Facts) -> Findings:
        if self.lock_seconds > self.max_lock_seconds:
            yield ("lockSeconds",), f"is longer than maxLockSeconds, {self.max_lock_seconds}"


class Sessions(Section):
    """How long a sign-in lasts."""

    idle_minutes: Annotated[StrictInt, whole(5, 10080, "minutes")] = Field(
        default=120, description="Minutes without a request after which people sign in again."
    )
    max_hours: Annotated[StrictInt, whole(1, 720, "hours")] = Field(
        default=12, description="Hours after which people sign in again in any case."
    )
    access_token_minutes: Annotated[StrictInt, whole(1, 60, "minutes")] = Field(
        default=5, description="Minutes that an access token is good for; a lost group is felt after so long."
    )
    per_person: Annotated[StrictInt, whole(1, 100)] | None = Field(
        default=None, description="Sessions that a person may have at once; a further one ends the oldest."
    )

    @rule
    def _idle_within_the_longest(self, facts: Facts) -> Findings:
        if self.idle_minutes > self.max_hours * 60:
            yield ("idleMinutes",), f"is longer than a session may last, which is {self.max_hours} hours (maxHours)"


class Events(Section):
    """The log of sign-ins and of what administrators changed, kept in Keycloak's database."""

    retention_days: Annotated[StrictInt, whole(1, 730, "days")] = Field(
        default=90, description="Days that events are kept."
    )


class Mail(Section):
    """The server through which Keycloak writes to people (forgotten passwords, verification). Over TLS, always."""

    sender: Email = Field(description="The address that mails come from.", alias="from")
    sender_name: Text | None = Field(default=None, description="The name beside that address.", alias="fromName")
    reply_to: Email | None = Field(default=None, description="Where answers go, if not to the sender.")
    host: HostName = Field(description="The mail server, such as email-smtp.us-east-1.amazonaws.com.")
    port: Annotated[StrictInt, whole(1, 65535)] = Field(default=587, description="Its port; 465 begins with tls.")
    encryption: Literal["starttls", "tls"] = Field(default="starttls", description="starttls, or tls from the start.")
    user: Text | None = Field(default=None, description="The name to sign in as, if the server asks for one.")
    password: Secret | None = Field(default=None, description="Where the password of that name lies.")

    @rule
    def _user_with_password(self, facts: Facts) -> Findings:
        if (self.user is None) != (self.password is None):
            yield ("user" if self.user is None else "password",), "is missing: user and password go together"


class Themes(Section):
    """The looks of Keycloak's pages, by name: those it comes with, or those in an image of yours."""

    login: Text | None = Field(default=None, description="The sign-in pages.")
    account: Text | None = Field(default=None, description="The page of one's own account.")
    email: Text | None = Field(default=None, description="Mails.")


class SeedUser(Section):
    """A person of a lab; the first password is generated, for one use, and lies in a Kubernetes Secret."""

    email: Email = Field(description="The person's e-mail address.")
    first_name: Text = Field(description="First name.")
    last_name: Text = Field(description="Last name.")
    roles: Annotated[tuple[Role, ...], DISTINCT] = Field(
        default=(), description="Roles in the whole platform, beside those of the groups."
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
        """Production goes on while a node is replaced."""
        return {"replicas": 2, **given} if facts.production else given


class Identity(Section):
    """One sign-in for every tool of the platform."""

    administrators: Annotated[tuple[Email, ...], DISTINCT, at_least_one("e-mail address")] = Field(
        description="E-mail addresses of those who administer people and roles; each gets an account with a first"
        " password for one use."
    )
    clients: dict[ClientName, Client] = Field(
        default={}, description="Further tools that people sign in to, by client id."
    )
    providers: dict[ClientName, Provider] = Field(
        default={}, description="Who else may vouch for people (GitHub, Google, OIDC, SAML), by name."
    )
    ldap: Ldap | None = Field(default=None, description="A directory whose people sign in with their password there.")
    password_policy: PasswordPolicy = Field(default=PasswordPolicy(), description="What a password must be.")
    brute_force: BruteForce = Field(default=BruteForce(), description="What follows on wrong passwords.")
    totp: Literal["optional", "required"] = Field(
        default="optional", description="One-time codes of an app beside the password: for who wants it, or for all."
    )
    sessions: Sessions = Field(default=Sessions(), description="How long a sign-in lasts.")
    events: Events = Field(default=Events(), description="The log of sign-ins and changes.")
    mail: Mail | None = Field(default=None, description="The mail server; none: Keycloak writes no mails.")
    themes: Themes = Field(default=Themes(), description="The looks of Keycloak's pages.")
    seed_users: dict[UserName, SeedUser] = Field(
        default={}, description="People whom a lab begins with, by user name; not for production."
    )
    database: Database = Field(default=Database(), description="The PostgreSQL server.")
    keycloak: Server = Field(default=Server(), description="Keycloak's pods.")

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Parts whose defaults depend on the lifecycle are completed even when they are not given."""
        return {"database": {}, "keycloak": {}, **given}

    @property
    def teams(self) -> tuple[str, ...]:
        """The teams whose groups this section names, in the order of their names."""
        return tuple(sorted({team_of(group) for _, group in self._groups()}))

    def _groups(self) -> Iterator[tuple[str, str]]:
        for name, provider in self.providers.items():
            yield from ((name, group) for group in provider.all_groups)
        yield from (("ldap", group) for group in (self.ldap.all_groups if self.ldap else ()))
        for name, user in self.seed_users.items():
            yield from ((name, group) for group in user.groups)

    @rule
    def _client_ids_that_are_free(self, facts: Facts) -> Findings:
        for name in self.clients:
            if name in (*OWN_CLIENTS, KUBERNETES_CLIENT):
                yield ("clients", name), "is a client that the platform registers itself: take another name"
            elif name in _KEYCLOAK_CLIENTS:
                yield ("clients", name), "is a client of Keycloak's own: take another name"

    @rule
    def _seed_users_for_labs_alone(self, facts: Facts) -> Findings:
        if facts.production and self.seed_users:
            yield (
                ("seedUsers",),
                "are for labs: in production people come from a provider, from a directory or by an administrator",
            )

    @rule
    def _one_account_a_person(self, facts: Facts) -> Findings:
        administrators = {email.lower() for email in self.administrators}
        emails = [user.email.lower() for user in self.seed_users.values()]
        for name, user in self.seed_users.items():
            if user.email.lower() in administrators:
                yield ("seedUsers", name, "email"), "is an administrator's, who gets an account anyway: leave one out"
            elif user.email.lower() in repeated(emails):
                yield ("seedUsers", name, "email"), "is the e-mail address of another seed user too"

    @rule
    def _names_of_providers(self, facts: Facts) -> Findings:
        for name in self.providers:
            if name == "ldap":
                yield ("providers", name), "is the directory's name: take another"


def domain_findings(identity: Identity, ingress: Ingress) -> Findings:
    """What people cannot be sent back to, with the domain that there is or without one; paths are the stack's."""
    domain = ingress.domain
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
                    yield path, f"is outside of the domain {domain}: codes go to the platform's own tools only"

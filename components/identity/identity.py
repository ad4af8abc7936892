"""Identity: one sign-in for every tool. Keycloak, its database, and its realm as code."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random

from components.ground.placement import Placement
from components.ground.secrets import SecretReader
from components.identity.keycloak import (
    BOOTSTRAP_SECRET,
    DATABASE_SECRET,
    DISCOVERY_PATHS,
    HEALTH_PATH,
    HEALTH_PORT,
    KEYCLOAK_VERSION,
    NAMESPACE,
    PASSWORD_KEY,
    PUBLIC_PATHS,
    SERVER_PORT,
    SERVICE,
    SERVICE_PORT,
    Keycloak,
    KeycloakArgs,
    internal_url,
)
from components.identity.realm.accounts import accounts_plan
from components.identity.realm.job import RealmJob, RealmJobArgs
from components.identity.realm.people import initial_password, people
from components.identity.realm.realm import REALM, realm, realm_secrets
from components.identity.realm.secrets import client_secret
from components.identity.trust import trusted_certificates
from components.ingress.published_service import PublishedService
from components.platform_urls import PlatformUrls
from components.storage.database import generated_password
from components.storage.databases import Databases
from settings.people.identity import DATABASE

if TYPE_CHECKING:
    from settings import ChartSource
    from settings import Identity as IdentitySettings
    from settings.language.secret_reference import SecretReference
    from settings.people.identity import PasswordPolicy

FIRST_PASSWORDS = "first-passwords"

# The priority of the load balancer's rule. It must stay the same for the service's life.
LISTENER_PRIORITY = 100

FIRST_PASSWORD_LENGTH = 20
# Safe in JSON and shells, and easy to read aloud.
SPECIAL_CHARACTERS = "-_.+"


@dataclass(frozen=True, kw_only=True)
class IdentityArgs:
    """What sign-in is made from.

    Without a domain, `urls` are those of `kubectl port-forward`. `teams` have groups, beside those that the
    settings name. `databases`, `secret` and `placement` are the ground's. Images are taken by their digests with
    `production`. With `kubectl` people sign in to the Kubernetes API too. `pods_after` is what the pods need to run.
    """

    settings: IdentitySettings
    urls: PlatformUrls
    databases: Databases
    secret: SecretReader
    placement: Placement
    production: bool = False
    teams: Collection[str] = ()
    kubectl: bool = False
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    pods_after: Sequence[pulumi.Resource] = ()


class Identity(pulumi.ComponentResource):
    """Keycloak with the realm `gpulab`, and its database.

    `client_secrets` are those of the realm's clients, by client id; `published` is what the load balancer publishes of
    it. Nobody can sign in to a tool before this component is complete.
    """

    realm_url: str
    """The realm's address for browsers, which is also the issuer of tokens."""
    internal_realm_url: str
    """The realm's address for tools in the cluster."""
    client_secrets: dict[str, pulumi.Output[str]]
    published: PublishedService
    retained: Mapping[str, pulumi.Output[str]]
    """What a destroy keeps: how its ground names it."""

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Identity", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings = args.settings
        namespace = kubernetes.core.v1.Namespace(
            name,
            metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            opts=child,
        ).metadata.name
        made = args.databases.for_keycloak(
            f"{name}-database",
            DATABASE,
            settings.database,
            version=KEYCLOAK_VERSION,
            namespace=namespace,
            opts=child,
            pods_after=args.pods_after,
        )
        database, self.retained = made.connection, made.retained

        bootstrap = generated_password(f"{name}-bootstrap", child)
        passwords = {
            BOOTSTRAP_SECRET: bootstrap,
            DATABASE_SECRET: database.password,
        }
        secrets = [
            kubernetes.core.v1.Secret(
                f"{name}-{secret}",
                metadata={"name": secret, "namespace": namespace},
                string_data={PASSWORD_KEY: password},
                opts=child,
            )
            for secret, password in passwords.items()
        ]
        trust = settings.trust
        trusted = None
        if trust is not None:
            elsewhere = trust.secret if trust.secret and not trust.secret.is_read_by_realm else None
            fetched = args.secret(elsewhere, self) if elsewhere else None
            trusted = trusted_certificates(f"{name}-trust", trust, namespace, fetched, child)
        keycloak = Keycloak(
            f"{name}-keycloak",
            KeycloakArgs(
                settings=settings.keycloak,
                namespace=namespace,
                urls=args.urls,
                database=database,
                placement=args.placement,
                by_digest=args.production,
                trusted=trusted,
                charts=args.charts,
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*secrets, *args.pods_after]),
        )

        first_passwords = {
            person.username: first_password(f"{name}-{person.username}", settings.password_policy, child)
            for person in people(settings)
        }
        if first_passwords:
            kubernetes.core.v1.Secret(
                f"{name}-first-passwords",
                metadata={"name": FIRST_PASSWORDS, "namespace": namespace},
                string_data={
                    "passwords": pulumi.Output.all(**first_passwords).apply(
                        lambda known: "".join(f"{person}: {password}\n" for person, password in sorted(known.items()))
                    )
                },
                opts=child,
            )
        self.client_secrets = {}
        given: dict[str, pulumi.Output[str]] = {
            initial_password(person): password for person, password in first_passwords.items()
        }
        references: dict[str, SecretReference] = {}
        for variable, reference in realm_secrets(settings).items():
            if reference is None and variable not in given:
                given[variable] = generated_password(f"{name}-{variable.lower().replace('_', '-')}", child)
            elif reference is not None and not reference.is_read_by_realm:
                given[variable] = args.secret(reference, self)
            elif reference is not None:
                references[variable] = reference
        for client_id in ("jupyterhub", "grafana", *settings.clients):
            if client_secret(client_id) in given:
                self.client_secrets[client_id] = given[client_secret(client_id)]

        self.internal_realm_url = internal_url()
        document = realm(settings, args.urls, args.teams, kubectl=args.kubectl)
        RealmJob(
            f"{name}-realm",
            RealmJobArgs(
                namespace=namespace,
                url=f"http://{SERVICE}:{SERVICE_PORT}",
                realm=document,
                accounts=accounts_plan(settings, document["groups"]),
                secrets=given,
                references=references,
                key=bootstrap,
                placement=args.placement,
                by_digest=args.production,
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[keycloak]),
        )
        self.realm_url = f"{args.urls.sign_in}/realms/{REALM}"
        self.published = published_service(args.urls, namespace, kubectl=args.kubectl)
        self.register_outputs({"realm_url": self.realm_url, "internal_realm_url": self.internal_realm_url})


def published_service(urls: PlatformUrls, namespace: pulumi.Input[str], *, kubectl: bool = False) -> PublishedService:
    """What the load balancer publishes of Keycloak, and where it checks Keycloak's health.

    With `kubectl`, EKS reads the realm's discovery document and public keys, from addresses that AWS does not publish.
    """
    return PublishedService(
        name="auth",
        host=urlsplit(urls.sign_in).hostname or "",
        priority=LISTENER_PRIORITY,
        namespace=namespace,
        service=SERVICE,
        port=SERVICE_PORT,
        target_port=SERVER_PORT,
        paths=[f"{path}*" for path in PUBLIC_PATHS],
        open_paths=DISCOVERY_PATHS if kubectl else (),
        health_check_path=HEALTH_PATH,
        health_check_port=HEALTH_PORT,
    )


def first_password(name: str, policy: PasswordPolicy, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """A password for one use that the policy accepts."""
    return random.RandomPassword(
        name,
        length=max(FIRST_PASSWORD_LENGTH, policy.min_length),
        min_upper=max(1, policy.upper_case),
        min_lower=max(1, policy.lower_case),
        min_numeric=max(1, policy.digits),
        min_special=policy.special_characters,
        special=policy.special_characters > 0,
        override_special=SPECIAL_CHARACTERS,
        opts=opts,
    ).result

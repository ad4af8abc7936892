"""Identity: one sign-in for every tool. Keycloak, its database, and its realm as code."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
import pulumi_random as random

from components.database import (
    ClusterDatabase,
    ClusterDatabaseArgs,
    Connection,
    RdsDatabase,
    RdsDatabaseArgs,
    generated_password,
)
from components.database_backups import DatabaseBackupsArgs
from components.keycloak import (
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
from components.published_service import PublishedService
from components.realm import REALM, Addresses, realm, realm_secrets
from components.realm_job import RealmJob, RealmJobArgs
from components.realm_people import initial_password, people
from components.realm_secrets import client_secret
from settings.identity import DATABASE

if TYPE_CHECKING:
    from settings import ChartSource
    from settings import Identity as IdentitySettings
    from settings.identity import PasswordPolicy
    from settings.secret_reference import SecretReference

FIRST_PASSWORDS = "first-passwords"

# The rule of the load balancer; it stays with the service.
LISTENER_PRIORITY = 100

FIRST_PASSWORD_LENGTH = 20
# Those that survive JSON, shells and being read out.
SPECIAL_CHARACTERS = "-_.+"


@dataclass(frozen=True, kw_only=True)
class IdentityArgs:
    """What sign-in is made from.

    Without a domain, `addresses` are those of `kubectl port-forward`. `teams` have groups, beside those that the
    settings name. The database is in `subnet_ids`, and reached from nodes in `node_security_group_id`. `production` has
    a snapshot taken of it before Keycloak is upgraded, `protect` keeps it from being deleted. With `kubectl` people
    sign in to the Kubernetes API too. `backups` are those of a database in the cluster. `pods_after` is what the pods
    need to run; RDS waits for the network only, as it takes the longest.
    """

    settings: IdentitySettings
    addresses: Addresses
    cluster_name: str
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    node_security_group_id: pulumi.Input[str]
    production: bool = False
    protect: bool = False
    backups: DatabaseBackupsArgs | None = None
    teams: Collection[str] = ()
    kubectl: bool = False
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    pods_after: Sequence[pulumi.Resource] = ()


class Identity(pulumi.ComponentResource):
    """Keycloak with the realm `gpulab`, and its database.

    `client_secrets` are those of the realm's clients, by client id; `published` is what the load balancer shows of it.
    Before it is there, nobody can sign in to a tool.
    """

    realm_url: str
    """The realm as browsers have it, which is also the issuer of tokens."""
    internal_realm_url: str
    """The realm as tools in the cluster have it."""
    client_secrets: dict[str, pulumi.Output[str]]
    published: PublishedService
    retained: dict[str, pulumi.Output[str]]
    """What a destroy keeps: how AWS names it."""

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Identity", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings = args.settings
        namespace = kubernetes.core.v1.Namespace(
            name,
            metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            opts=child,
        ).metadata.name
        self.retained = {}
        database = self._database(f"{name}-database", args, namespace)

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
        keycloak = Keycloak(
            f"{name}-keycloak",
            KeycloakArgs(
                namespace=namespace,
                addresses=args.addresses,
                database=database,
                replicas=settings.keycloak.replicas,
                memory=settings.keycloak.memory,
                image=settings.keycloak.image,
                by_digest=args.production,
                charts=args.charts,
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*secrets, *args.pods_after]),
        )

        first_passwords = {
            person["username"]: first_password(f"{name}-{person['username']}", settings.password_policy, child)
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
            elif reference is not None and reference.secrets_manager is not None:
                given[variable] = from_secrets_manager(reference, self)
            elif reference is not None:
                references[variable] = reference
        for client_id in ("jupyterhub", "grafana", *settings.clients):
            if client_secret(client_id) in given:
                self.client_secrets[client_id] = given[client_secret(client_id)]

        self.internal_realm_url = internal_url()
        RealmJob(
            f"{name}-realm",
            RealmJobArgs(
                namespace=namespace,
                url=f"http://{SERVICE}:{SERVICE_PORT}",
                realm=realm(settings, args.addresses, args.teams, kubectl=args.kubectl),
                secrets=given,
                references=references,
                key=bootstrap,
                by_digest=args.production,
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[keycloak]),
        )
        self.realm_url = f"{args.addresses.sign_in}/realms/{REALM}"
        self.published = published_service(args.addresses, namespace, kubectl=args.kubectl)
        self.register_outputs({"realm_url": self.realm_url, "internal_realm_url": self.internal_realm_url})

    def _database(self, name: str, args: IdentityArgs, namespace: pulumi.Input[str]) -> Connection:
        database = args.settings.database
        if database.kind == "cloudnative-pg":
            in_cluster = ClusterDatabaseArgs(
                namespace=namespace,
                instances=database.instances,
                storage=database.storage,
                protect=args.protect,
                by_digest=args.production,
                backups=args.backups,
                charts=args.charts,
            )
            pods = pulumi.ResourceOptions(parent=self, depends_on=list(args.pods_after))
            made = ClusterDatabase(name, in_cluster, opts=pods)
            if made.backups and args.backups and args.backups.retain:
                self.retained["databaseBackups"] = made.backups.bucket_name
            return made.connection
        on_rds = RdsDatabaseArgs(
            identifier=f"{args.cluster_name}-{DATABASE}",
            database=DATABASE,
            vpc_id=args.vpc_id,
            subnet_ids=args.subnet_ids,
            client_security_group_id=args.node_security_group_id,
            instance_class=database.instance_class,
            storage=database.storage,
            max_storage=database.max_storage,
            multi_az=database.multi_az,
            backup_days=database.backup_days,
            final_snapshot=database.final_snapshot,
            deletion_protection=args.protect,
            snapshot_before=KEYCLOAK_VERSION if args.production else None,
        )
        return RdsDatabase(name, on_rds, opts=pulumi.ResourceOptions(parent=self)).connection


def published_service(addresses: Addresses, namespace: pulumi.Input[str], *, kubectl: bool = False) -> PublishedService:
    """What the load balancer shows of Keycloak, and where it asks for its health.

    With `kubectl` EKS comes for the realm's discovery document and public keys, from addresses that it names nowhere.
    """
    return PublishedService(
        name="auth",
        host=urlsplit(addresses.sign_in).hostname or "",
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
    """A password that the policy admits, for one use."""
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


def from_secrets_manager(reference: SecretReference, parent: pulumi.Resource) -> pulumi.Output[str]:
    """The value of a secret in AWS Secrets Manager as it is now, or of one key of it; a secret in the state too."""
    version = aws.secretsmanager.get_secret_version_output(
        secret_id=reference.secrets_manager or "", opts=pulumi.InvokeOptions(parent=parent)
    )
    return pulumi.Output.secret(version.secret_string).apply(lambda text: value_of(text, reference))


def value_of(text: str, reference: SecretReference) -> str:
    """What a secret's text holds for a reference. Raises ValueError, without the text."""
    if reference.key is None:
        return text
    try:
        return str(json.loads(text)[reference.key])
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{reference.secrets_manager} is no JSON object with the key {reference.key}: set the key that it has"
        ) from None

"""Hub: JupyterHub, in which people of a team pick a profile and get a notebook in the team's namespace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random

import contracts
from components.charts import release_args
from components.database import RdsDatabaseArgs
from components.identity import from_secrets_manager
from components.jupyterhub_values import (
    CHART,
    CLIENT_SECRET_KEY,
    COOKIE_SECRET_KEY,
    CRYPT_KEYS_KEY,
    DATABASE_PASSWORD_KEY,
    SECRETS,
    HubValuesArgs,
    hub_values,
)
from components.manifests import Spec
from components.notebook_catalogue import CATALOGUE_LABEL, catalogue, catalogue_text, checksum, hub_of
from components.notebook_end import NotebookEnd
from components.published_service import PublishedService
from components.realm import Addresses
from components.team_names import HUB_NAMESPACE, HUB_SERVICE_ACCOUNT, PULL_SECRET
from components.team_rbac import hub_subject, role_ref
from settings.hub import DATABASE
from settings.team_names import namespace_of

if TYPE_CHECKING:
    from components.database import Connection
    from settings import Settings

MODULES = Path(__file__).parent / "hub"
_OF_A_MODULE = (".py", ".html", ".js", ".sh")

PRIORITY_CLASS = "gpulab-notebook"
# That of pods without a class: above the placeholders of `components.warm`, and nobody else's place is taken.
PRIORITY = 0

PROXY_SERVICE = "proxy-public"
PROXY_SERVICE_PORT = 80
PROXY_PORT = 8000
# Of the proxy itself: while the hub starts anew, notebooks are reached all the same.
HEALTH_PATH = "/_chp_healthz"
# The rule of the load balancer; it stays with the service.
LISTENER_PRIORITY = 200

MACHINES_ROLE = "gpulab-hub-machines"

_KEY_BYTES = 32

# Seconds: a node may have to come first, and the hub's image is pulled.
RELEASE_TIMEOUT = 900


@dataclass(frozen=True, kw_only=True)
class HubArgs:
    """What the hub is made from: the settings of a stack that has one.

    `client_secret` is that of the realm's client, `kubeconfig` the cluster's as JSON. `database`: None for one on a
    volume, which is part of the release.
    """

    settings: Settings
    client_secret: pulumi.Input[str]
    kubeconfig: pulumi.Input[str]
    database: Connection | None = None


class Hub(pulumi.ComponentResource):
    """JupyterHub, and the notebooks' priority.

    It depends on the teams, whose namespaces let it start notebooks, on the identity that people sign in by, and on the
    gate of `components.volume_gate`, as its database may be a claim. Without it there are no notebooks: those that run
    end when it goes. Homes stay.
    """

    published: PublishedService

    def __init__(self, name: str, args: HubArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Hub", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = kubernetes.core.v1.Namespace(
            name,
            metadata={"name": HUB_NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            opts=child,
        )
        within = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        files = {
            "modules": hub_modules(),
            "catalogue": {"catalogue.json": catalogue_text(catalogue(args.settings))},
        }
        # Immutable and named by Pulumi, which gives no name twice: the revision that a failed upgrade returns to finds
        # its files as they were, and the deletion of a map that was replaced never takes one that is in use.
        maps = {
            kind: kubernetes.core.v1.ConfigMap(
                f"{name}-{kind}",
                metadata={
                    "namespace": HUB_NAMESPACE,
                    "labels": CATALOGUE_LABEL if kind == "catalogue" else {},
                },
                data=data,
                immutable=True,
                opts=within,
            )
            for kind, data in files.items()
        }
        held = self._held(name, args)
        before = [
            *maps.values(),
            *self._secrets(name, args, held, within),
            *self._rights(name, within),
            kubernetes.scheduling.v1.PriorityClass(
                name,
                metadata={"name": PRIORITY_CLASS},
                value=PRIORITY,
                description="Notebooks, which push placeholders aside",
                opts=child,
            ),
            NotebookEnd(f"{name}-notebooks", args.kubeconfig, list(map(namespace_of, args.settings.teams)), opts=child),
        ]
        kubernetes.helm.v3.Release(
            name,
            name=CHART,
            namespace=HUB_NAMESPACE,
            values=hub_values(
                HubValuesArgs(
                    settings=args.settings,
                    modules=maps["modules"].metadata.name,
                    catalogue=maps["catalogue"].metadata.name,
                    secrets_checksum=secrets_checksum(held),
                    database_url=database_url(args.database) if args.database else None,
                )
            ),
            timeout=RELEASE_TIMEOUT,
            # An upgrade that fails returns to the revision that ran, a first install is taken away.
            atomic=True,
            cleanup_on_fail=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
            **release_args(CHART, args.settings.charts),
        )
        self.published = published_service(Addresses.of(args.settings.ingress.domain), namespace.metadata.name)
        self.register_outputs({})

    def _held(self, name: str, args: HubArgs) -> dict[str, pulumi.Input[str]]:
        """What the chart takes from a Secret, so that Helm's values have none, by its key.

        The token between hub and proxy is the chart's own, in its Secret.
        """
        child = pulumi.ResourceOptions(parent=self)
        data: dict[str, pulumi.Input[str]] = {
            COOKIE_SECRET_KEY: random_key(f"{name}-cookies", child),
            CRYPT_KEYS_KEY: random_key(f"{name}-auth-state", child),
            CLIENT_SECRET_KEY: args.client_secret,
        }
        if args.database is not None:
            data[DATABASE_PASSWORD_KEY] = args.database.password
        return data

    def _secrets(
        self, name: str, args: HubArgs, held: dict[str, pulumi.Input[str]], opts: pulumi.ResourceOptions
    ) -> list[pulumi.Resource]:
        """The hub's own Secret, and the registry's credentials."""
        made: list[pulumi.Resource] = [
            kubernetes.core.v1.Secret(
                f"{name}-secrets", metadata={"name": SECRETS, "namespace": HUB_NAMESPACE}, string_data=held, opts=opts
            )
        ]
        registry = hub_of(args.settings).registry
        if registry and registry.pull_secret:
            made.append(
                kubernetes.core.v1.Secret(
                    f"{name}-{PULL_SECRET}",
                    metadata={"name": PULL_SECRET, "namespace": HUB_NAMESPACE},
                    type="kubernetes.io/dockerconfigjson",
                    string_data={".dockerconfigjson": from_secrets_manager(registry.pull_secret, self)},
                    opts=opts,
                )
            )
        return made

    def _rights(self, name: str, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        """What the hub looks at in its own namespace, and the machines that Karpenter buys, which are in none.

        In a team's namespace it has the Role of `components.team`.
        """
        metadata: Any = {"name": HUB_SERVICE_ACCOUNT, "namespace": HUB_NAMESPACE}
        role = kubernetes.rbac.v1.Role(name, metadata=metadata, rules=hub_rules(), opts=opts)
        binding = kubernetes.rbac.v1.RoleBinding(
            name,
            metadata=metadata,
            role_ref=role_ref("Role", HUB_SERVICE_ACCOUNT),
            subjects=[hub_subject()],
            opts=opts,
        )
        machines: Any = {"name": MACHINES_ROLE}
        return [
            role,
            binding,
            kubernetes.rbac.v1.ClusterRole(f"{name}-machines", metadata=machines, rules=machine_rules(), opts=opts),
            kubernetes.rbac.v1.ClusterRoleBinding(
                f"{name}-machines",
                metadata=machines,
                role_ref=role_ref("ClusterRole", MACHINES_ROLE),
                subjects=[hub_subject()],
                opts=opts,
            ),
        ]


def database_args(
    settings: Settings,
    *,
    vpc_id: pulumi.Input[str],
    subnet_ids: Sequence[pulumi.Input[str]],
    node_security_group_id: pulumi.Input[str],
) -> RdsDatabaseArgs | None:
    """The hub's database on RDS, in these subnets, for these nodes; None where it is on a volume.

    It is no part of the hub, as it takes a quarter of an hour, in which everything else is made.
    """
    database = hub_of(settings).database
    if database.kind == "volume":
        return None
    return RdsDatabaseArgs(
        identifier=f"{settings.cluster.name}-{DATABASE}",
        database=DATABASE,
        vpc_id=vpc_id,
        subnet_ids=subnet_ids,
        client_security_group_id=node_security_group_id,
        instance_class=database.instance_class,
        storage=database.size,
        multi_az=database.multi_az,
        backup_days=database.backup_days,
        final_snapshot=database.final_snapshot,
        deletion_protection=settings.lifecycle.protects,
        snapshot_before=contracts.chart(CHART).app_version if settings.lifecycle.kind == "production" else None,
    )


def hub_modules() -> dict[str, str]:
    """The files of `components/hub`, which are the package that the hub loads, by name."""
    return {
        path.name: path.read_text(encoding="utf-8") for path in sorted(MODULES.iterdir()) if path.suffix in _OF_A_MODULE
    }


def random_key(name: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """32 random bytes as hex digits, the form in which JupyterHub takes both keys.

    A RandomPassword, since its ID is `none`: that of RandomBytes is the bytes themselves, and no ID is encrypted in a
    state. What `ignore_changes` names is not as here where the key was imported (docs/upgrades.md).
    """
    kept = pulumi.ResourceOptions(ignore_changes=["lower", "upper", "overrideSpecial"])
    return random.RandomPassword(
        name,
        length=2 * _KEY_BYTES,
        lower=False,
        upper=False,
        override_special="abcdef",
        opts=pulumi.ResourceOptions.merge(opts, kept),
    ).result


def secrets_checksum(held: dict[str, pulumi.Input[str]]) -> pulumi.Output[str]:
    """Changes with any of the secrets. It is none itself: with random keys among them, it helps to guess none."""
    return pulumi.Output.unsecret(
        pulumi.Output.all(**held).apply(lambda known: checksum(*(known[key] for key in sorted(known))))
    )


def database_url(database: Connection) -> pulumi.Output[str]:
    """The database as SQLAlchemy names it; the password comes from a Secret."""
    return pulumi.Output.concat(
        f"postgresql+psycopg2://{database.username}@",
        database.host,
        f":{database.port}/{database.database}",
        "?sslmode=require",
    )


def hub_rules() -> list[Spec]:
    """The rules of the hub's Role in its own namespace."""
    return [{"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["get", "list", "watch"]}]


def machine_rules() -> list[Spec]:
    """By which the hub can say why a machine that somebody waits for does not become ready."""
    return [{"apiGroups": ["karpenter.sh"], "resources": ["nodeclaims"], "verbs": ["get"]}]


def published_service(addresses: Addresses, namespace: pulumi.Input[str]) -> PublishedService:
    """What the load balancer shows of the hub: all of `platform.DOMAIN` that no other tool has for itself."""
    return PublishedService(
        name="platform",
        host=urlsplit(addresses.platform).hostname or "",
        priority=LISTENER_PRIORITY,
        namespace=namespace,
        service=PROXY_SERVICE,
        port=PROXY_SERVICE_PORT,
        target_port=PROXY_PORT,
        health_check_path=HEALTH_PATH,
    )

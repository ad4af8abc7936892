"""Hub: JupyterHub, where people in a team pick a profile and get a notebook in the team's namespace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random

from components.charts import release_args
from components.gates.notebook_end import NotebookEnd
from components.ground.placement import Placement
from components.ground.reach import Reach
from components.ground.secrets import SecretReader
from components.hub.catalogue_from_settings import CATALOGUE_LABEL, catalogue, catalogue_text, checksum, hub_of
from components.hub.home_sizes import HomeSizes, HomeSizesArgs
from components.hub.inside import verify_account
from components.hub.values import (
    CHART,
    CLIENT_SECRET_KEY,
    COOKIE_SECRET_KEY,
    CRYPT_KEYS_KEY,
    DATABASE_PASSWORD_KEY,
    SECRETS,
    TOKEN_KEY,
    HubValuesArgs,
    hub_values,
)
from components.identity.realm.clients import HUB_BASE_URL
from components.ingress.published_service import PublishedService
from components.manifests import Spec
from components.platform_urls import PlatformUrls
from components.storage.files import Files
from components.teams.names import HUB_NAMESPACE, HUB_SERVICE_ACCOUNT, PULL_SECRET
from components.teams.rbac import hub_subject, role_ref
from settings.notebooks.discovered import discovers
from settings.people.names import namespace_of

if TYPE_CHECKING:
    from components.storage.database import Connection
    from settings import Settings

MODULES = Path(__file__).parent / "inside"
_OF_A_MODULE = (".py", ".html", ".js", ".sh")

PRIORITY_CLASS = "gpulab-notebook"
# The priority of pods without a class: above the placeholders of `components.nodes.warm`, and above no other pod.
PRIORITY = 0

PROXY_SERVICE = "proxy-public"
PROXY_SERVICE_PORT = 80
PROXY_PORT = 8000
# The proxy's own, so that notebooks stay reachable while the hub restarts.
HEALTH_PATH = "/_chp_healthz"
# The load balancer's rule for the hub, which stays the same.
LISTENER_PRIORITY = 200

MACHINES_ROLE, NODES_ROLE = "gpulab-hub-machines", "gpulab-hub-nodes"

_KEY_BYTES = 32

# Seconds: a node may have to start first, and the hub's image is pulled.
RELEASE_TIMEOUT = 900


@dataclass(frozen=True, kw_only=True)
class HubArgs:
    """What the hub is made from: the settings of a stack that has one.

    `client_secret` is the realm client's, where people sign in by Keycloak. `kubeconfig` is the cluster's as JSON.
    `files`, `secret`, `placement` and `reach` are the ground's. Without `database` the hub has one on a volume, which
    is part of the release.
    """

    settings: Settings
    client_secret: pulumi.Input[str] | None
    files: Files
    secret: SecretReader
    placement: Placement
    reach: Reach
    kubeconfig: pulumi.Input[str]
    database: Connection | None = None


class Hub(pulumi.ComponentResource):
    """JupyterHub, and the notebooks' priority.

    It depends on the teams, whose namespaces let it start notebooks, and on
    the gate of `components.gates.volume_gate`, because its database may be a claim. Removing the hub ends all running
    notebooks; homes stay.
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
        # Immutable, and named by Pulumi, which never uses a name twice. So a failed upgrade returns to a revision whose
        # files are unchanged, and deleting a replaced map never deletes one that is in use.
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
        secrets = self._secret_values(name, args)
        before = [
            *maps.values(),
            *self._secrets(name, args, secrets, within),
            *self._rights(name, args.settings, within),
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
                    placement=args.placement,
                    reach=args.reach,
                    modules=maps["modules"].metadata.name,
                    catalogue=maps["catalogue"].metadata.name,
                    secrets_checksum=secrets_checksum(secrets),
                    database_url=database_url(args.database) if args.database else None,
                )
            ),
            timeout=RELEASE_TIMEOUT,
            # An upgrade that fails returns to the revision that ran; a failed first install is removed.
            atomic=True,
            cleanup_on_fail=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
            **release_args(CHART, args.settings.charts),
        )
        if args.settings.storage.homes == "shared":
            HomeSizes(
                f"{name}-homes",
                HomeSizesArgs(
                    settings=args.settings,
                    modules=maps["modules"].metadata.name,
                    files=args.files,
                    placement=args.placement,
                    reach=args.reach,
                ),
                opts=pulumi.ResourceOptions(parent=self, depends_on=before),
            )
        self.published = published_service(args.settings, namespace.metadata.name)
        self.register_outputs({})

    def _secret_values(self, name: str, args: HubArgs) -> dict[str, pulumi.Input[str]]:
        """The values that the chart reads from a Secret, by key, so that Helm's values contain none of them.

        The token between hub and proxy is made by the chart, in its own Secret.
        """
        child = pulumi.ResourceOptions(parent=self)
        data: dict[str, pulumi.Input[str]] = {
            COOKIE_SECRET_KEY: random_key(f"{name}-cookies", child),
            CRYPT_KEYS_KEY: random_key(f"{name}-auth-state", child),
            verify_account.TOKEN_KEY: random_key(f"{name}-verify", child),
            **self._sign_in_secret(name, args),
        }
        if args.database is not None:
            data[DATABASE_PASSWORD_KEY] = args.database.password
        return data

    def _sign_in_secret(self, name: str, args: HubArgs) -> dict[str, pulumi.Input[str]]:
        """What the hub shows to who signs people in, or what people show to the hub, by its key in the Secret.

        Raises ValueError for a hub that has neither.
        """
        hub = hub_of(args.settings)
        if hub.sign_in == "token":
            return {TOKEN_KEY: random_key(f"{name}-token", pulumi.ResourceOptions(parent=self))}
        if hub.sign_in == "github" and hub.github and hub.github.client_secret:
            return {CLIENT_SECRET_KEY: args.secret(hub.github.client_secret, self)}
        if args.client_secret is None:
            raise ValueError(f"stack {args.settings.stack}: nobody could sign in to its hub")
        return {CLIENT_SECRET_KEY: args.client_secret}

    def _secrets(
        self, name: str, args: HubArgs, values: dict[str, pulumi.Input[str]], opts: pulumi.ResourceOptions
    ) -> list[pulumi.Resource]:
        """The hub's own Secret, and the registry's credentials."""
        made: list[pulumi.Resource] = [
            kubernetes.core.v1.Secret(
                f"{name}-secrets", metadata={"name": SECRETS, "namespace": HUB_NAMESPACE}, string_data=values, opts=opts
            )
        ]
        registry = hub_of(args.settings).registry
        if registry and registry.pull_secret:
            made.append(
                kubernetes.core.v1.Secret(
                    f"{name}-{PULL_SECRET}",
                    metadata={"name": PULL_SECRET, "namespace": HUB_NAMESPACE},
                    type="kubernetes.io/dockerconfigjson",
                    string_data={".dockerconfigjson": args.secret(registry.pull_secret, self)},
                    opts=opts,
                )
            )
        return made

    def _rights(self, name: str, settings: Settings, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        """What the hub may read: objects in its own namespace, and cluster-wide what `cluster_rules` says.

        In a team's namespace it has the Role of `components.teams.team`.
        """
        metadata: Any = {"name": HUB_SERVICE_ACCOUNT, "namespace": HUB_NAMESPACE}
        made: list[pulumi.Resource] = [
            kubernetes.rbac.v1.Role(name, metadata=metadata, rules=hub_rules(), opts=opts),
            kubernetes.rbac.v1.RoleBinding(
                name,
                metadata=metadata,
                role_ref=role_ref("Role", HUB_SERVICE_ACCOUNT),
                subjects=[hub_subject()],
                opts=opts,
            ),
        ]
        for role, rules in cluster_rules(settings).items():
            own_name = f"{name}-{role.rpartition('-')[2]}"
            named: Any = {"name": role}
            made += [
                kubernetes.rbac.v1.ClusterRole(own_name, metadata=named, rules=rules, opts=opts),
                kubernetes.rbac.v1.ClusterRoleBinding(
                    own_name,
                    metadata=named,
                    role_ref=role_ref("ClusterRole", role),
                    subjects=[hub_subject()],
                    opts=opts,
                ),
            ]
        return made


def hub_modules() -> dict[str, str]:
    """The files of `components/hub/inside`, the package that the hub loads, by name."""
    return {
        path.name: path.read_text(encoding="utf-8") for path in sorted(MODULES.iterdir()) if path.suffix in _OF_A_MODULE
    }


def random_key(name: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """32 random bytes as hex digits, as JupyterHub takes both keys.

    It is a RandomPassword because its ID is `none`: the ID of RandomBytes is the bytes themselves, and Pulumi does not
    encrypt IDs in the state. An imported key (docs/upgrades.md) has other values in the fields of `ignore_changes`.
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


def secrets_checksum(values: dict[str, pulumi.Input[str]]) -> pulumi.Output[str]:
    """Changes with any of the secrets. It is not a secret: with random keys among them, it reveals none."""
    return pulumi.Output.unsecret(
        pulumi.Output.all(**values).apply(lambda known: checksum(*(known[key] for key in sorted(known))))
    )


def database_url(database: Connection) -> pulumi.Output[str]:
    """The database's URL for SQLAlchemy; the password comes from a Secret."""
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
    """Lets the hub say why a machine that somebody waits for does not become ready, and when each machine ends."""
    return [{"apiGroups": ["karpenter.sh"], "resources": ["nodeclaims"], "verbs": ["get", "list"]}]


def node_rules() -> list[Spec]:
    """Lets the hub list the GPUs that nodes have. What of them is free, it counts by the pods of teams."""
    return [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}]


def cluster_rules(settings: Settings) -> dict[str, list[Spec]]:
    """The rules of the hub's ClusterRoles, by their names.

    It may read machines where pools buy some, and nodes where a profile discovers GPUs.
    """
    buys = any(pool.capacity_types for pool in settings.node_pools.values())
    return {
        **({MACHINES_ROLE: machine_rules()} if buys else {}),
        **({NODES_ROLE: node_rules()} if discovers(settings.profiles) else {}),
    }


def published_service(settings: Settings, namespace: pulumi.Input[str]) -> PublishedService:
    """What the load balancer publishes of the hub: all of `platform.DOMAIN` that no other tool has for itself.

    At a person's name below it are only the person's notebooks, never the hub's pages: a notebook could read pages that
    have its own name.
    """
    return PublishedService(
        name="platform",
        host=urlsplit(PlatformUrls.of(settings.ingress.domain).platform).hostname or "",
        paths_below=(f"{HUB_BASE_URL}/user/*",) if settings.has_subdomains else (),
        priority=LISTENER_PRIORITY,
        namespace=namespace,
        service=PROXY_SERVICE,
        port=PROXY_SERVICE_PORT,
        target_port=PROXY_PORT,
        health_check_path=HEALTH_PATH,
    )

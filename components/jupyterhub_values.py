"""The values of the chart `jupyterhub` (zero-to-jupyterhub): pure functions of the settings.

What each notebook is started with is not among them: that is decided by the modules in `components/hub`, which the hub
loads, from the catalogue (`components.notebook_catalogue`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi

from components.cluster import SYSTEM_TOLERATION
from components.gpu_sharing import tolerations
from components.images import Mirror, chart_images, mirror_of, mirrored, name_and_tag, with_digests
from components.jupyterhub_network import hub_policy, proxy_policy
from components.node_pools import POOL_LABEL
from components.notebook_catalogue import CATALOGUE_LABEL, hub_of
from components.realm_clients import HUB_BASE_URL
from components.team_names import HUB_NAMESPACE, HUB_PORT, PULL_SECRET
from components.volumes import GP3_CLASS
from settings.values import seconds

if TYPE_CHECKING:
    from settings import Hub, NodePool, Settings

CHART = "jupyterhub"

# The Secret and its keys; those with dots are what the chart's own configuration looks for.
SECRETS = "hub-secrets"
COOKIE_SECRET_KEY = "hub.config.JupyterHub.cookie_secret"  # noqa: S105 (a key's name)
CRYPT_KEYS_KEY = "hub.config.CryptKeeper.keys"
DATABASE_PASSWORD_KEY = "hub.db.password"  # noqa: S105 (a key's name)
# A file of that name is where `components/hub/config.py` looks.
CLIENT_SECRET_KEY = "oauth-client-secret"  # noqa: S105 (a key's name)

# The package of `components/hub`, in a folder that the chart's configuration has on its path.
PACKAGE = "gpulab"
PACKAGE_FOLDER = f"/usr/local/etc/jupyterhub/{PACKAGE}"
CONFIGURATION = f"from {PACKAGE}.config import configure; configure(c)"

SECRETS_CHECKSUM = f"checksum/{SECRETS}"
DO_NOT_DISRUPT = {"karpenter.sh/do-not-disrupt": "true"}
# A drain may take the one pod there is: else no node that has it could be renewed.
DISRUPTION_BUDGET = {"enabled": True, "maxUnavailable": 1, "minAvailable": None}

# Shell and pause alone run in the pods that pull images.
_PULLER_RESOURCES = {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}}


@dataclass(frozen=True, kw_only=True)
class HubValuesArgs:
    """What the values are made of: the settings of a stack with a hub, and what is made beside the release.

    `secrets_checksum` changes with the Secret's contents. `database_url` is SQLAlchemy's, without the password; None:
    SQLite on a volume.
    """

    settings: Settings
    modules: pulumi.Input[str]
    catalogue: pulumi.Input[str]
    secrets_checksum: pulumi.Input[str]
    database_url: pulumi.Input[str] | None = None


def hub_url() -> str:
    """Where notebooks in their teams' namespaces, and the proxy, find the hub."""
    return f"http://hub.{HUB_NAMESPACE}.svc.cluster.local:{HUB_PORT}"


def hub_values(args: HubValuesArgs) -> dict[str, Any]:
    """The values. A None in them takes a default of the chart's away."""
    hub, settings = hub_of(args.settings), args.settings
    mirror = mirror_of(settings)
    cidr, reaches_database = settings.network.cidr, args.database_url is not None
    values: dict[str, Any] = {
        "imagePullSecrets": [PULL_SECRET] if hub.registry and hub.registry.pull_secret else [],
        # Its Role lets the hub read every Secret of its namespace.
        "rbac": {"create": False},
        "hub": {
            "baseUrl": f"{HUB_BASE_URL}/",
            "existingSecret": SECRETS,
            "config": {
                "JupyterHub": {
                    "authenticator_class": "generic-oauth",
                    # By the full name: a notebook is in another namespace.
                    "hub_connect_url": hub_url(),
                }
            },
            "db": _database(args),
            "extraConfig": {PACKAGE: CONFIGURATION},
            "extraVolumes": [
                {
                    "name": PACKAGE,
                    "projected": {
                        "sources": [{"configMap": {"name": name}} for name in (args.modules, args.catalogue)]
                    },
                }
            ],
            "extraVolumeMounts": [{"name": PACKAGE, "mountPath": PACKAGE_FOLDER, "readOnly": True}],
            "labels": CATALOGUE_LABEL,
            # The Secret is read once, when the hub starts; the chart has only its own Secret's changes start it anew.
            "annotations": {**DO_NOT_DISRUPT, SECRETS_CHECKSUM: args.secrets_checksum},
            "pdb": DISRUPTION_BUDGET,
            "resources": {
                "requests": {"cpu": "200m", "memory": f"{hub.memory}Gi"},
                "limits": {"memory": f"{hub.memory}Gi"},
            },
            "allowNamedServers": hub.named_servers > 0,
            "namedServerLimitPerUser": hub.named_servers,
            "networkPolicy": hub_policy(cidr, reaches_database=reaches_database, asks_github=hub.github is not None),
            **_image("hub.image", mirror),
        },
        "proxy": {
            # The load balancer is Pulumi's.
            "service": {"type": "ClusterIP"},
            "annotations": DO_NOT_DISRUPT,
            "chp": {
                "pdb": DISRUPTION_BUDGET,
                "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
                "networkPolicy": proxy_policy(),
                # The chart's own is without the base URL, from where the hub redirects.
                "errorTarget": f"{hub_url()}{HUB_BASE_URL}/hub/error",
                # It asks nothing of Kubernetes.
                "extraPodSpec": {"automountServiceAccountToken": False},
                **_image("proxy.chp.image", mirror),
            },
        },
        "singleuser": {
            # A privileged container of root's, which `restricted` refuses; the teams' network policies do it instead.
            "cloudMetadata": {"blockWithIptables": False},
            "storage": {"type": "none"},
            "startTimeout": seconds(hub.start_timeout),
            **_puller_target(settings, mirror),
        },
        "prePuller": _pre_puller(settings, hub, mirror),
        "scheduling": {
            "userScheduler": {"enabled": False},
            "userPlaceholder": {"enabled": False},
            "podPriority": {"enabled": False},
            "corePods": {"tolerations": [SYSTEM_TOLERATION], "nodeAffinity": {"matchNodePurpose": "ignore"}},
            "userPods": {"tolerations": [], "nodeAffinity": {"matchNodePurpose": "ignore"}},
        },
        # The hub's own service ends notebooks, each by its profile.
        "cull": {"enabled": False},
    }
    return with_digests(CHART, values, settings.charts, by_digest=settings.lifecycle.kind == "production")


def image_names(settings: Settings) -> list[str]:
    """The images of notebooks, and of the chart itself, as their publishers call them."""
    return [*(profile.image for profile in settings.profiles.values()), *_chart_image_names().values()]


def cpu_images(settings: Settings, mirror: Mirror) -> list[str]:
    """The images of profiles without GPUs, each once, the default's first."""
    profiles = sorted(settings.profiles.values(), key=lambda one: not one.default)
    return list(dict.fromkeys(mirrored(one.image, mirror) for one in profiles if one.gpu is None))


def notebook_pools(settings: Settings) -> dict[str, NodePool]:
    """The pools without GPUs that some team may use, by name."""
    allowed = {name for team in settings.teams.values() for name in team.pools(settings.node_pools)}
    return {name: pool for name, pool in settings.node_pools.items() if name in allowed and not pool.is_gpu}


def _database(args: HubValuesArgs) -> dict[str, Any]:
    if args.database_url is not None:
        # The chart upgrades the schema of its own SQLite alone, unless it is told to.
        return {"type": "postgres", "url": args.database_url, "upgrade": True}
    storage = f"{hub_of(args.settings).database.size}Gi"
    return {"type": "sqlite-pvc", "pvc": {"storage": storage, "storageClassName": GP3_CLASS}}


def _puller_target(settings: Settings, mirror: Mirror) -> dict[str, Any]:
    """Where images are pulled ahead, and the first of them. Notebooks get their image and nodes from their profile."""
    pools, images = notebook_pools(settings), cpu_images(settings, mirror)
    in_pools = {"key": POOL_LABEL, "operator": "In", "values": list(pools)}
    return {
        "image": _name_and_tag(images[0]) if images else {},
        "extraNodeAffinity": {"required": [{"matchExpressions": [in_pools]}] if pools else []},
    }


def _pre_puller(settings: Settings, hub: Hub, mirror: Mirror) -> dict[str, Any]:
    """CPU images, on nodes of the pools where CPU notebooks run, as each of them comes. A release waits for none."""
    pools, images = notebook_pools(settings), cpu_images(settings, mirror)
    return {
        "hook": {"enabled": False},
        "continuous": {"enabled": hub.pre_pull and bool(pools) and bool(images)},
        "pullProfileListImages": False,
        "extraImages": {f"cpu-{number}": _name_and_tag(image) for number, image in enumerate(images[1:], start=1)},
        "extraTolerations": tolerations(pools, at_start=False),
        "resources": _PULLER_RESOURCES,
        "pause": _image("prePuller.pause.image", mirror),
    }


def _name_and_tag(image: str) -> dict[str, str]:
    """An image as the chart's templates put it together again, NAME:TAG; of a digest that is what follows `sha256:`."""
    name, _, tag = image.rpartition(":")
    return {"name": name, "tag": tag}


def _image(path: str, mirror: Mirror) -> dict[str, Any]:
    """An image of the chart's own through the mirror, at the chart's tag; nothing without a mirror."""
    if mirror is None:
        return {}
    return {"image": {"name": mirrored(_chart_image_names()[path], mirror)}}


def _chart_image_names() -> dict[str, str]:
    """The chart's own images without their tags, by where they are in its values."""
    return {image.path: name_and_tag(reference)[0] for image, reference in chart_images(CHART).items()}

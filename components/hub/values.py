"""The values of the chart `jupyterhub` (zero-to-jupyterhub): pure functions of the settings.

How each notebook is started is not among them: the modules in `components/hub/inside`, which the hub loads, decide it
from the catalogue (`components.hub.catalogue_from_settings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi

from components.ground.placement import Placement
from components.ground.reach import Reach
from components.hub.catalogue_from_settings import CATALOGUE_LABEL, hub_of
from components.hub.inside.catalogue import node_terms
from components.hub.network_policies import hub_policy, proxy_policy
from components.identity.realm.clients import HUB_BASE_URL
from components.images import Mirror, chart_images, mirror_of, mirrored, name_and_tag, with_digests
from components.nodes.gpu_sharing import tolerations
from components.platform_urls import PlatformUrls
from components.teams.names import HUB_NAMESPACE, HUB_PORT, PULL_SECRET
from settings.language.values import seconds
from settings.notebooks.findings import cpu_pools

if TYPE_CHECKING:
    from settings import Hub, Settings
    from settings.people.sign_in import SignIn
    from settings.pools.pool import Pool

CHART = "jupyterhub"

# The Secret and its keys; the chart's own configuration looks for those with dots.
SECRETS = "hub-secrets"
COOKIE_SECRET_KEY = "hub.config.JupyterHub.cookie_secret"  # noqa: S105 (a key's name)
CRYPT_KEYS_KEY = "hub.config.CryptKeeper.keys"
DATABASE_PASSWORD_KEY = "hub.db.password"  # noqa: S105 (a key's name)
# `components/hub/inside/sign_in.py` reads files of these names.
CLIENT_SECRET_KEY = "oauth-client-secret"  # noqa: S105 (a key's name)
TOKEN_KEY = "sign-in-token"  # noqa: S105 (a key's name)

# JupyterHub's own, by how people sign in. The hub's modules extend each.
_AUTHENTICATORS: Mapping[SignIn, str] = {
    "keycloak": "generic-oauth",
    "github": "github",
    "token": "shared-password",
}

# The package of `components/hub/inside`, in a folder on the Python path of the chart's configuration.
PACKAGE = "gpulab"
PACKAGE_FOLDER = f"/usr/local/etc/jupyterhub/{PACKAGE}"
CONFIGURATION = f"from {PACKAGE}.config import configure; configure(c)"

# What the jobs of `components.hub.home_sizes` write, and `components/hub/inside/homes.py` reads.
HOME_SIZES = "home-sizes"
HOME_SIZES_FOLDER = f"/usr/local/etc/jupyterhub/{HOME_SIZES}"

SECRETS_CHECKSUM = f"checksum/{SECRETS}"
# A drain may evict the only pod: otherwise no node that runs it could be replaced.
DISRUPTION_BUDGET = {"enabled": True, "maxUnavailable": 1, "minAvailable": None}

# The pods that pull images run only a shell and pause.
_PULLER_RESOURCES = {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}}


@dataclass(frozen=True, kw_only=True)
class HubValuesArgs:
    """What the values are made from: the settings of a stack with a hub, and what is made beside the release.

    `placement` and `reach` are the ground's. `secrets_checksum` changes with the Secret's contents. `database_url` is
    for SQLAlchemy, without the password; without it the database is SQLite on a volume.
    """

    settings: Settings
    placement: Placement
    reach: Reach
    modules: pulumi.Input[str]
    catalogue: pulumi.Input[str]
    secrets_checksum: pulumi.Input[str]
    database_url: pulumi.Input[str] | None = None


def hub_url() -> str:
    """Where the proxy, and notebooks in their teams' namespaces, find the hub."""
    return f"http://hub.{HUB_NAMESPACE}.svc.cluster.local:{HUB_PORT}"


def hub_values(args: HubValuesArgs) -> dict[str, Any]:
    """The values. None removes a default of the chart."""
    hub, settings = hub_of(args.settings), args.settings
    mirror = mirror_of(settings)
    placement, reaches_database = args.placement, args.database_url is not None
    values: dict[str, Any] = {
        "imagePullSecrets": [PULL_SECRET] if hub.registry and hub.registry.pull_secret else [],
        # The Role of its service account may read every Secret of its namespace.
        "rbac": {"create": False},
        "hub": {
            "baseUrl": f"{HUB_BASE_URL}/",
            "existingSecret": SECRETS,
            "config": {"JupyterHub": jupyterhub(settings)},
            "db": _database(args),
            "extraConfig": {PACKAGE: CONFIGURATION},
            "extraVolumes": [
                {
                    "name": PACKAGE,
                    "projected": {
                        "sources": [{"configMap": {"name": name}} for name in (args.modules, args.catalogue)]
                    },
                },
                {"name": HOME_SIZES, "projected": {"sources": _home_sizes(settings)}},
            ],
            "extraVolumeMounts": [
                {"name": PACKAGE, "mountPath": PACKAGE_FOLDER, "readOnly": True},
                {"name": HOME_SIZES, "mountPath": HOME_SIZES_FOLDER, "readOnly": True},
            ],
            "labels": CATALOGUE_LABEL,
            "nodeSelector": dict(placement.node_selector),
            # The hub reads the Secret only when it starts, and the chart restarts it only for the chart's own Secret.
            "annotations": {**placement.annotations, SECRETS_CHECKSUM: args.secrets_checksum},
            "pdb": DISRUPTION_BUDGET,
            "resources": {
                "requests": {"cpu": "200m", "memory": f"{hub.memory}Gi"},
                "limits": {"memory": f"{hub.memory}Gi"},
            },
            "allowNamedServers": hub.named_servers > 0,
            "namedServerLimitPerUser": hub.named_servers,
            "networkPolicy": hub_policy(
                args.reach,
                reaches_database=reaches_database,
                asks_keycloak=hub.sign_in == "keycloak",
                asks_github=hub.github is not None,
            ),
            **_image("hub.image", mirror),
        },
        "proxy": {
            # Pulumi makes the load balancer.
            "service": {"type": "ClusterIP"},
            "annotations": dict(placement.annotations),
            "chp": {
                "nodeSelector": dict(placement.node_selector),
                "pdb": DISRUPTION_BUDGET,
                "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
                "networkPolicy": proxy_policy(),
                # The chart's own path lacks the base URL, and the hub redirects from there.
                "errorTarget": f"{hub_url()}{HUB_BASE_URL}/hub/error",
                # It does not use the Kubernetes API.
                "extraPodSpec": {"automountServiceAccountToken": False},
                **_image("proxy.chp.image", mirror),
            },
        },
        "singleuser": {
            # This needs a privileged container, which `restricted` refuses; the teams' network policies do it instead.
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
            "corePods": {
                "tolerations": list(placement.tolerations),
                "nodeAffinity": {"matchNodePurpose": "ignore"},
            },
            "userPods": {"tolerations": [], "nodeAffinity": {"matchNodePurpose": "ignore"}},
        },
        # The hub's own service ends notebooks, each as its profile says.
        "cull": {"enabled": False},
    }
    return with_digests(CHART, values, settings.charts, by_digest=settings.lifecycle.kind == "production")


def home_sizes_map(team: str) -> str:
    """The name of a team's job, and of the ConfigMap that it writes."""
    return f"{HOME_SIZES}-{team}"


def hub_image(settings: Settings) -> str:
    """The image that the hub runs in this release, as its values or the chart itself name it."""
    of_hub = next(image for image in chart_images(CHART) if image.path == "hub.image")
    name, tag = name_and_tag(chart_images(CHART)[of_hub])
    by_digest = settings.lifecycle.kind == "production"
    pinned = with_digests(CHART, {}, settings.charts, by_digest=by_digest).get("hub", {}).get("image", {}).get("tag")
    return f"{mirrored(name, mirror_of(settings))}:{pinned or tag}"


def jupyterhub(settings: Settings) -> dict[str, Any]:
    """The part of JupyterHub's own configuration that the chart reads too."""
    found: dict[str, Any] = {
        "authenticator_class": _AUTHENTICATORS[hub_of(settings).sign_in],
        # The full name, because a notebook is in another namespace.
        "hub_connect_url": hub_url(),
    }
    if settings.has_subdomains:
        # The first has the proxy route by host. Only its own host can set a cookie named `__Host-…`, so no notebook can
        # set a cookie that browsers then send to the hub.
        found["subdomain_host"] = PlatformUrls.of(settings.ingress.domain).platform
        found["cookie_host_prefix_enabled"] = True
    return found


def image_names(settings: Settings) -> list[str]:
    """The images of notebooks and of the chart itself, as their publishers call them."""
    return [*(profile.image for profile in settings.profiles.values()), *_chart_image_names().values()]


def cpu_images(settings: Settings, mirror: Mirror) -> list[str]:
    """The images of profiles without GPUs, each once, the default profile's first."""
    profiles = sorted(settings.profiles.values(), key=lambda one: not one.default)
    return list(dict.fromkeys(mirrored(one.image, mirror) for one in profiles if one.gpu is None))


def notebook_pools(settings: Settings) -> dict[str, Pool]:
    """The pools for notebooks without GPUs that some team may use, by name."""
    allowed = {name for team in settings.teams.values() for name in team.pools(settings.node_pools)}
    return {name: pool for name, pool in cpu_pools(settings.node_pools).items() if name in allowed}


def _database(args: HubValuesArgs) -> dict[str, Any]:
    if args.database_url is not None:
        # The chart upgrades the database schema by itself only for its own SQLite.
        return {"type": "postgres", "url": args.database_url, "upgrade": True}
    storage = f"{hub_of(args.settings).database.size}Gi"
    # None is the chart's default: the cluster's default class.
    return {"type": "sqlite-pvc", "pvc": {"storage": storage, "storageClassName": args.settings.storage.disk_class}}


def _home_sizes(settings: Settings) -> list[dict[str, Any]]:
    """The ConfigMaps with the sizes of homes, as files in one folder; there are none before the first measurement."""
    if settings.storage.homes != "shared":
        return []
    return [{"configMap": {"name": home_sizes_map(team), "optional": True}} for team in settings.teams]


def _puller_target(settings: Settings, mirror: Mirror) -> dict[str, Any]:
    """Where images are pulled ahead, and the first image. Notebooks get their image and nodes from their profile."""
    pools, images = notebook_pools(settings), cpu_images(settings, mirror)
    terms = node_terms(pool.node_selector(name) for name, pool in pools.items())
    return {
        "image": _name_and_tag(images[0]) if images else {},
        "extraNodeAffinity": {"required": [{"matchExpressions": term} for term in terms] if pools else []},
    }


def _pre_puller(settings: Settings, hub: Hub, mirror: Mirror) -> dict[str, Any]:
    """Pulls CPU images on each new node of the pools where CPU notebooks run. A release does not wait for it."""
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
    """An image as the chart's templates join it again, NAME:TAG; the tag of a digest is what follows `sha256:`."""
    name, _, tag = image.rpartition(":")
    return {"name": name, "tag": tag}


def _image(path: str, mirror: Mirror) -> dict[str, Any]:
    """One of the chart's own images through the mirror, with the chart's tag; empty without a mirror."""
    if mirror is None:
        return {}
    return {"image": {"name": mirrored(_chart_image_names()[path], mirror)}}


def _chart_image_names() -> dict[str, str]:
    """The chart's own images without their tags, by their place in its values."""
    return {image.path: name_and_tag(reference)[0] for image, reference in chart_images(CHART).items()}

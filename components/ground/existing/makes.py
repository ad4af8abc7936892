"""What a stack makes in a cluster under names of its own choice: what must not be somebody else's already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import contracts
from components.ground.existing.found import FoundCluster
from components.ground.existing.ownership import HELM_RELEASE, Named
from components.hub.jupyterhub import PRIORITY_CLASS, cluster_rules
from components.hub.values import CHART as HUB_CHART
from components.identity.keycloak import NAME as KEYCLOAK
from components.identity.keycloak import NAMESPACE as IDENTITY_NAMESPACE
from components.ingress import lets_encrypt, traefik
from components.nodes import gpu, site_gpu
from components.storage import claims, local_path, site_storage
from components.storage.cluster_database import OPERATOR, OPERATOR_NAMESPACE
from components.storage.volumes import made_volumes
from components.teams import admission
from components.teams.names import HUB_NAMESPACE
from components.teams.rbac import CLUSTER_ROLES
from settings.people.names import namespace_of

if TYPE_CHECKING:
    from settings import ExistingSettings


def made_by(settings: ExistingSettings, found: FoundCluster) -> frozenset[Named]:
    """The namespaces, releases and cluster-scoped objects of the platform.

    Not what it makes only where there is none, such as the RuntimeClass.
    """
    return frozenset(
        [
            *_of_teams(settings),
            *_of_hub(settings),
            *_of_identity(settings, found),
            *_of_gpus(settings),
            *_of_storage(settings),
            *_of_ingress(settings, found),
        ]
    )


def makes_database_operator(settings: ExistingSettings, found: FoundCluster) -> bool:
    """Whether the stack installs CloudNativePG: it needs a database, and nobody else's operator runs."""
    return settings.identity is not None and not found.others(OPERATOR, settings.stack)


def _of_teams(settings: ExistingSettings) -> Iterator[Named]:
    for team in settings.teams:
        yield Named(kind="Namespace", name=namespace_of(team))
    if settings.teams:
        for role in CLUSTER_ROLES:
            yield Named(kind="ClusterRole", name=role)
        for policy in (admission.PODS, admission.SERVICES, admission.INGRESSES):
            yield Named(kind="ValidatingAdmissionPolicy", name=policy)
            yield Named(kind="ValidatingAdmissionPolicyBinding", name=policy)


def _of_hub(settings: ExistingSettings) -> Iterator[Named]:
    if settings.running_hub:
        yield Named(kind="PriorityClass", name=PRIORITY_CLASS)
        for role in cluster_rules(settings):
            yield Named(kind="ClusterRole", name=role)
            yield Named(kind="ClusterRoleBinding", name=role)
        yield from _release(HUB_CHART, HUB_NAMESPACE)


def _of_identity(settings: ExistingSettings, found: FoundCluster) -> Iterator[Named]:
    if settings.identity:
        yield from _release(KEYCLOAK, IDENTITY_NAMESPACE)
    if makes_database_operator(settings, found):
        yield from _release(OPERATOR, OPERATOR_NAMESPACE)
        yield from _crds(OPERATOR, OPERATOR_NAMESPACE, settings, found)


def _of_gpus(settings: ExistingSettings) -> Iterator[Named]:
    if not any(pool.is_gpu for pool in settings.node_pools.values()):
        return
    software = {"device-plugin": site_gpu, "operator": gpu}.get(settings.gpu.plugin)
    if software:
        yield from _release(software.CHART, software.NAMESPACE)


def _of_storage(settings: ExistingSettings) -> Iterator[Named]:
    storage = settings.storage
    if any(made_volumes(team, storage) for team in settings.teams):
        yield Named(kind="Namespace", name=claims.NAMESPACE)
    install = storage.install
    for name in install.classes:
        yield Named(kind="Namespace", name=site_storage.NAMESPACE)
        yield Named(kind="StorageClass", name=name)
    if install.local_path:
        yield Named(kind="ClusterRole", name=local_path.NAME)
        yield Named(kind="ClusterRoleBinding", name=local_path.NAME)
    if install.seaweedfs:
        yield from _release(site_storage.SEAWEEDFS_CHART, site_storage.NAMESPACE)
        yield Named(kind="CSIDriver", name=site_storage.SEAWEEDFS_DRIVER)
    if install.nfs:
        yield from _release(site_storage.NFS_CHART, site_storage.NAMESPACE)
        yield Named(kind="CSIDriver", name=site_storage.NFS_DRIVER)


def _of_ingress(settings: ExistingSettings, found: FoundCluster) -> Iterator[Named]:
    ingress = settings.ingress
    if ingress.install.traefik and ingress.class_name:
        yield from _release(traefik.RELEASE, traefik.NAMESPACE)
        yield Named(kind="IngressClass", name=ingress.class_name)
    if ingress.install.cert_manager:
        yield from _release(lets_encrypt.CHART, lets_encrypt.NAMESPACE)
        yield from _crds(lets_encrypt.CHART, lets_encrypt.NAMESPACE, settings, found)


def _release(name: str, namespace: str) -> Iterator[Named]:
    """A release in a namespace of its own."""
    yield Named(kind="Namespace", name=namespace)
    yield Named(kind=HELM_RELEASE, name=name, namespace=namespace)


def _crds(chart: str, namespace: str, settings: ExistingSettings, found: FoundCluster) -> Iterator[Named]:
    """The CRDs of a chart. While the stack's release is there they are its own, whether or not the chart marks them."""
    release = found.objects.get(Named(kind=HELM_RELEASE, name=chart, namespace=namespace))
    if release is None or release.stack != settings.stack:
        for crd in contracts.chart(chart).crds:
            yield Named(kind="CustomResourceDefinition", name=crd["metadata"]["name"])

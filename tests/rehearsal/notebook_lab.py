"""Teams' namespaces as the program makes them, and people who start notebooks there by the hub's own spawner."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

import kubernetes_asyncio.config
import yaml
from chart_configuration import set_by_chart
from jupyterhub.objects import Hub, Server
from karpenter_lab import Lab
from traitlets.config import Config

from components.ground.reach import Reach
from components.ground.system_nodes import SYSTEM_NODES
from components.hub import jupyterhub
from components.hub.catalogue_from_settings import catalogue
from components.hub.inside import pod
from components.hub.inside.catalogue import Catalogue, parse
from components.hub.inside.config import configure
from components.hub.inside.spawner import NotebookSpawner, pre_spawn_hook
from components.hub.values import HubValuesArgs, hub_values
from components.storage import volumes
from components.teams import admission as team_admission
from components.teams import quota as team_quota
from components.teams import rbac as team_rbac
from components.teams.names import HUB_NAMESPACE, HUB_SERVICE_ACCOUNT, NOTEBOOK_SERVICE_ACCOUNT
from components.teams.team import TeamArgs, namespace_metadata
from rehearsal.controllers.world import Kubernetes, Object, place
from settings import EksSettings

Result = TypeVar("Result")

_PATIENCE_SECONDS = 240


def make_teams(kubernetes: Kubernetes, settings: EksSettings) -> None:
    """The hub's and teams' objects that the program makes and that the API server's decisions need."""
    make_hub(kubernetes)
    for name in settings.teams:
        make_team(kubernetes, name, settings)


def make_hub(kubernetes: Kubernetes) -> None:
    """What exists without any team."""
    make = _Maker(kubernetes)
    make("/api/v1/namespaces", {"metadata": {"name": HUB_NAMESPACE}})
    make("/api/v1/serviceaccounts", {"metadata": _within(HUB_NAMESPACE, HUB_SERVICE_ACCOUNT)})
    # What the chart gives the hub in its own namespace.
    _give_hub(
        make, HUB_NAMESPACE, [{"apiGroups": [""], "resources": ["pods", "events"], "verbs": ["get", "list", "watch"]}]
    )
    rbac, machines = "/apis/rbac.authorization.k8s.io/v1", {"name": jupyterhub.MACHINES_ROLE}
    make(f"{rbac}/clusterroles", {"metadata": machines, "rules": jupyterhub.machine_rules()})
    reference = team_rbac.role_ref("ClusterRole", jupyterhub.MACHINES_ROLE)
    subjects = [team_rbac.hub_subject()]
    make(f"{rbac}/clusterrolebindings", {"metadata": machines, "roleRef": reference, "subjects": subjects})
    priority = {"metadata": {"name": pod.PRIORITY_CLASS}, "value": 0}
    make("/apis/scheduling.k8s.io/v1/priorityclasses", priority)
    name = team_admission.PODS
    policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
    make(f"{policies}ies", {"metadata": {"name": name}, "spec": team_admission.pod_policy({})})
    make(f"{policies}ybindings", {"metadata": {"name": name}, "spec": team_admission.binding(name)})


def make_team(kubernetes: Kubernetes, name: str, settings: EksSettings) -> None:
    """One team more."""
    make, team, storage = _Maker(kubernetes), settings.teams[name], settings.storage
    shared: Any = SimpleNamespace(storage=storage, pools=settings.node_pools, owner="tests", cost_center="tests")
    metadata = namespace_metadata(TeamArgs(name=name, settings=team, shared=shared))
    namespace = metadata["name"]
    make("/api/v1/namespaces", {"metadata": metadata})
    quota = team_quota.resource_quota(name, team.quota, storage, settings.node_pools)
    for collection, own_name, content in (
        ("serviceaccounts", NOTEBOOK_SERVICE_ACCOUNT, {"automountServiceAccountToken": False}),
        ("resourcequotas", "team", {"spec": quota}),
        ("limitranges", "team", {"spec": team_quota.limit_range(team.quota)}),
    ):
        make(f"/api/v1/{collection}", {"metadata": _within(namespace, own_name), **content})
    _give_hub(make, namespace, team_rbac.hub_rules(storage))
    for volume in volumes.team_volumes(name, storage):
        handle = volumes.volume_handle("fs-00000001", f"fsap-{volume.name}")
        make("/api/v1/persistentvolumes", volumes.persistent_volume(namespace, volume, handle))
        make("/api/v1/persistentvolumeclaims", volumes.claim(namespace, volume))


def _give_hub(make: _Maker, namespace: str, rules: Any) -> None:
    rbac, metadata = "/apis/rbac.authorization.k8s.io/v1", _within(namespace, "hub")
    make(f"{rbac}/roles", {"metadata": metadata, "rules": rules})
    reference, subjects = team_rbac.role_ref("Role", "hub"), [team_rbac.hub_subject()]
    make(f"{rbac}/rolebindings", {"metadata": metadata, "roleRef": reference, "subjects": subjects})


def hub_kubeconfig(kubernetes: Kubernetes, administrators: Path, folder: Path) -> Path:
    """A kubeconfig for the hub's service account, next to the administrator's."""
    account = f"{place('/api/v1/serviceaccounts', HUB_SERVICE_ACCOUNT, HUB_NAMESPACE)}/token"
    token = kubernetes.request("POST", account, {"spec": {}})["status"]["token"]
    content = yaml.safe_load(administrators.read_text(encoding="utf-8"))
    user = {**content["users"][0], "user": {"token": token}}
    file = folder / "hub-kubeconfig"
    file.write_text(yaml.safe_dump({**content, "users": [user]}), encoding="utf-8")
    return file


class _Maker:
    def __init__(self, kubernetes: Kubernetes) -> None:
        self._kubernetes = kubernetes

    def __call__(self, collection: str, obj: Object) -> None:
        metadata = obj["metadata"]
        self._kubernetes.create(place(collection, metadata["name"], metadata.get("namespace")), obj)


class NotebookLab:
    """The teams of some settings, and the account that starts notebooks there.

    `kubeconfig` is that of the hub's account.
    """

    def __init__(self, lab: Lab, settings: EksSettings, kubeconfig: Path, folder: Path) -> None:
        self.lab = lab
        self.kubeconfig = kubeconfig
        self.document = catalogue(settings)
        self.values = hub_values(
            HubValuesArgs(
                settings=settings,
                placement=SYSTEM_NODES,
                reach=Reach(cluster_cidr=settings.network.cidr, api_server_cidrs=()),
                modules="modules",
                catalogue="catalogue",
                secrets_checksum="0",
            )
        )
        for name in settings.teams:
            make_team(lab.kubernetes, name, settings)
        self._folder = folder

    @property
    def catalogue(self) -> Catalogue:
        return parse(self.document)

    def pods(self, namespace: str) -> list[Object]:
        return [
            one
            for one in self.lab.kubernetes.list(f"/api/v1/namespaces/{namespace}/pods")
            if "deletionTimestamp" not in one["metadata"]
        ]

    def run(self, work: Callable[[Spawning], Coroutine[Any, Any, Result]]) -> Result:
        """Runs `work` as the hub's account, in its own event loop."""

        async def within() -> Result:
            async with self._spawning() as spawning:
                return await work(spawning)

        return asyncio.run(within())

    @asynccontextmanager
    async def _spawning(self) -> AsyncIterator[Spawning]:
        await kubernetes_asyncio.config.load_kube_config(str(self.kubeconfig))
        with patch("kubespawner.spawner.load_config"):
            try:
                yield Spawning(self.document, self.values, self._folder)
            finally:
                await NotebookSpawner._stop_all_reflectors()


class Spawning:
    """Makes spawners of people, as the hub does, configured as the hub is: by the chart, then by our modules."""

    def __init__(self, document: Object, values: Object, folder: Path) -> None:
        file = folder / "catalogue.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        self._config = Config()
        set_by_chart(self._config, values)
        configure(self._config, file)

    def spawner(
        self, person: str, groups: Iterable[str], profile: str | None = None, server: str = "", **traits: Any
    ) -> NotebookSpawner:
        """The spawner of a person with these groups and this choice."""
        user = SimpleNamespace(
            name=person,
            id=1,
            url=f"/jupyter/user/{person}/",
            escaped_name=person,
            groups=[SimpleNamespace(name=group) for group in groups],
            server=Server(),
            settings={},
        )
        options = {"profile": profile} if profile else {}
        stored = SimpleNamespace(name=server, server=None, user_options=options, state={}, started=None)
        made = NotebookSpawner(
            user=user,
            orm_spawner=stored,
            hub=Hub(ip="hub", port=8081, base_url="/jupyter/hub/"),
            config=self._config,
            api_token="token",
            oauth_client_id=f"jupyterhub-user-{person}",
            user_options=options,
            **traits,
        )
        made.namespace = HUB_NAMESPACE
        return made

    async def start(self, *args: Any, **kwargs: Any) -> NotebookSpawner:
        """Starts a notebook as the hub does: first its hook, then the spawner. Raises Refused with the reason."""
        made = self.spawner(*args, **kwargs)
        made.start_timeout = _PATIENCE_SECONDS
        await pre_spawn_hook(made)
        await made.start()
        return made

    async def stop(self, spawner: NotebookSpawner) -> None:
        """Stops a notebook, and waits until its team's quota no longer counts it."""
        await spawner.stop(now=True)

        async def counted() -> None:
            namespace = spawner.namespace
            while True:
                pods = (await spawner.api.list_namespaced_pod(namespace)).items
                quotas = (await spawner.api.list_namespaced_resource_quota(namespace)).items
                if all(int((one.status.used or {}).get("pods", 0)) <= len(pods) for one in quotas):
                    return
                await asyncio.sleep(0.2)

        await asyncio.wait_for(counted(), _PATIENCE_SECONDS)


def _within(namespace: str, name: str) -> dict[str, str]:
    return {"name": name, "namespace": namespace}


def pod_of(notebooks: NotebookLab, spawner: NotebookSpawner) -> Object:
    """The pod of somebody's notebook."""
    found = notebooks.lab.kubernetes.get(place("/api/v1/pods", spawner.pod_name, spawner.namespace))
    assert found
    return found

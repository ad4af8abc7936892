"""What the controllers see and touch: the API server and the simulated AWS of one rehearsal.

Controllers are level-triggered: in each pass they list what they look after and bring the other side into line. So
nothing is kept between passes but what is read again, and a pass that failed is made up for by the next.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

import boto3
import botocore.session
import urllib3
import yaml
from botocore.config import Config

from rehearsal.controllers.deployed import DeployedRelease, deployed_release
from rehearsal.providers.kubernetes.client import ApiError, Unreachable

# A Kubernetes object as its JSON.
Object = dict[str, Any]

NODES = "/api/v1/nodes"
PODS = "/api/v1/pods"
SECRETS = "/api/v1/secrets"
NODE_POOLS = "/apis/karpenter.sh/v1/nodepools"
NODE_CLAIMS = "/apis/karpenter.sh/v1/nodeclaims"
NODE_OVERLAYS = "/apis/karpenter.sh/v1alpha1/nodeoverlays"
EC2_NODE_CLASSES = "/apis/karpenter.k8s.aws/v1/ec2nodeclasses"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

_FIELD_MANAGER = "rehearsal-controllers"
_JSON = "application/json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 30.0
_QUICKLY = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 2})


def place(collection: str, name: str, namespace: str | None = None) -> str:
    """The API path of one object: `place("/api/v1/persistentvolumeclaims", "home", "team-a")`."""
    if namespace is not None:
        root, _, plural = collection.rpartition("/")
        collection = f"{root}/namespaces/{quote(namespace, safe='')}/{plural}"
    return f"{collection}/{quote(name, safe='')}"


def place_of(collection: str, obj: Object) -> str:
    """The API path of `obj`, which is in `collection`."""
    metadata = obj["metadata"]
    return place(collection, metadata["name"], metadata.get("namespace"))


class Kubernetes:
    """The API server, called as the administrator of `kubeconfig`.

    Every method raises ApiError for what is refused and Unreachable when nobody answers.
    """

    def __init__(self, kubeconfig: Path) -> None:
        self.config = content = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster = content["clusters"][0]["cluster"]
        self.server: str = cluster["server"]
        self._headers = {"Authorization": f"Bearer {content['users'][0]['user']['token']}"}
        self._pool = urllib3.PoolManager(
            ca_cert_data=base64.b64decode(cluster["certificate-authority-data"]).decode("ascii"),
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
            retries=False,
        )

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = _JSON,
        *,
        accept: str = _JSON,
        token: str | None = None,
    ) -> Any:
        """The API server's answer, decoded; as the administrator, or as whoever has `token`."""
        signed = {"Authorization": f"Bearer {token}"} if token else self._headers
        headers = {**signed, "Content-Type": content_type, "Accept": accept}
        data = None if body is None else json.dumps(body).encode()
        try:
            response = self._pool.request(method, f"{self.server}{path}", body=data, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{self.server}: {error}") from error
        text = response.data.decode()
        answer = json.loads(text) if text.startswith("{") else text
        if response.status >= 400:
            raise ApiError(response.status, answer)
        return answer

    def list(self, collection: str, **selectors: str) -> list[Object]:
        """All objects of a collection, across namespaces; none when its kind is not (or no longer) served.

        `selectors` are labelSelector and fieldSelector.
        """
        return self._list(collection, selectors, _JSON)

    def list_metadata(self, collection: str, **selectors: str) -> list[Object]:
        """The same with nothing but the metadata of each object, for those that are large."""
        return self._list(collection, selectors, _METADATA_ONLY)

    def _list(self, collection: str, selectors: Mapping[str, str], accept: str) -> list[Object]:
        query = f"?{urlencode(selectors)}" if selectors else ""
        try:
            return self.request("GET", collection + query, accept=accept)["items"] or []
        except ApiError as error:
            if error.is_not_found:
                return []
            raise

    def get(self, path: str) -> Object | None:
        """One object by its path; None when it is not there."""
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    def create(self, path: str, obj: Object) -> Object:
        """Makes `obj` at the path of itself (as `place` gives it), whose last part is left to the server."""
        return self.request("POST", path.rpartition("/")[0], obj)

    def apply(self, path: str, obj: Object) -> Object:
        """Applies `obj` at its path, server side."""
        return self.request("PATCH", f"{path}?fieldManager={_FIELD_MANAGER}&force=true", obj, _APPLY_PATCH)

    def patch(self, path: str, changes: Mapping[str, Any]) -> None:
        """Merges `changes` into the object, or with a path that ends in /status into its status.

        One that is gone by now is left alone: the next pass sees it.
        """
        try:
            self.request("PATCH", path, changes, _MERGE_PATCH)
        except ApiError as error:
            if not error.is_not_found:
                raise

    def delete(self, path: str, *, propagation: str = "Background") -> None:
        """Asks for the deletion of the object; one that is gone is no error."""
        try:
            self.request("DELETE", path, {"propagationPolicy": propagation})
        except ApiError as error:
            if not error.is_not_found:
                raise


class Aws:
    """The simulated AWS by boto3; its address and key are in the environment, as any SDK reads them."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._session = boto3.Session(region_name=region, botocore_session=botocore.session.Session())
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client of `service`, made once."""
        if service not in self._clients:
            self._clients[service] = self._session.client(service, config=_QUICKLY)
        return self._clients[service]

    def clusters(self) -> list[str]:
        """The names of the EKS clusters; a rehearsal has one or none."""
        return self.client("eks").list_clusters()["clusters"]


@dataclass(kw_only=True)
class Cluster:
    """The Kubernetes side alone."""

    kubernetes: Kubernetes
    _listed: dict[str, list[Object]] = field(default_factory=dict)
    _releases: dict[str, DeployedRelease] = field(default_factory=dict)
    _deployed: list[DeployedRelease] | None = None

    def begin_pass(self) -> None:
        """Forgets what the last pass listed."""
        self._listed.clear()
        self._deployed = None

    def listed(self, collection: str) -> list[Object]:
        """All objects of a collection as they were when they were first listed in this pass; not to be changed."""
        if collection not in self._listed:
            self._listed[collection] = self.kubernetes.list(collection)
        return self._listed[collection]

    def deployed(self, chart: str) -> DeployedRelease | None:
        """The deployed Helm release of a chart, as it was when this pass first asked for any."""
        if self._deployed is None:
            self._deployed = self._deployed_now()
        return next((release for release in self._deployed if release.chart == chart), None)

    def _deployed_now(self) -> list[DeployedRelease]:
        """The deployed releases. A release's secret can be large: each version is read once."""
        live = self.kubernetes.list_metadata(SECRETS, labelSelector="owner=helm,status=deployed")
        versions = {f"{one['metadata']['uid']} {one['metadata']['resourceVersion']}": one for one in live}
        self._releases = {version: known for version, known in self._releases.items() if version in versions}
        for version in versions.keys() - self._releases.keys():
            secret = self.kubernetes.get(place_of(SECRETS, versions[version]))
            if secret is not None:
                self._releases[version] = deployed_release(secret)
        return list(self._releases.values())


@dataclass(kw_only=True)
class World(Cluster):
    """Both sides. `folder` is where controllers may write files; `zones` are those of the stack's network."""

    aws: Aws
    folder: Path
    zones: tuple[str, ...]

    @property
    def region(self) -> str:
        """The stack's region."""
        return self.aws.region


W_contra = TypeVar("W_contra", bound=Cluster, contravariant=True)


class Controller(Protocol[W_contra]):
    """One concern. What `reconcile` raises is written to the log, and the next pass tries again."""

    def reconcile(self, world: W_contra, /) -> None:
        """Looks at the world once and brings what it is responsible for into line."""
        ...

"""The client of the API server for a provider. It discovers kinds, and objects are plain JSON."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import urllib3

from .objects import Object, name_of, namespace_of

if TYPE_CHECKING:
    from kubernetes.client import Configuration

_CONNECTIONS = 32
_TIMEOUT_SECONDS = 60.0
_CONNECT_TIMEOUT_SECONDS = 10.0
_APPLY = "application/apply-patch+yaml"
_JSON_PATCH = "application/json-patch+json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class ApiError(Exception):
    """The API server refused a request, with a Status."""

    def __init__(self, status: int, answer: Any) -> None:
        answer = answer if isinstance(answer, dict) else {"message": str(answer)}
        self.status = status
        self.reason: str = answer.get("reason") or ""
        self.details: dict[str, Any] = answer.get("details") or {}
        super().__init__(answer.get("message") or f"the API server answered {status}")

    @property
    def is_not_found(self) -> bool:
        """Whether the object, its namespace or its kind does not exist."""
        return self.status == 404

    @property
    def already_exists(self) -> bool:
        """Whether an object with this name exists already."""
        return self.reason == "AlreadyExists"

    @property
    def is_field_conflict(self) -> bool:
        """Whether another field manager owns a field of an apply."""
        causes = self.details.get("causes") or []
        return self.reason == "Conflict" and any(cause.get("reason") == "FieldManagerConflict" for cause in causes)

    @property
    def was_overtaken(self) -> bool:
        """Whether the object changed between being read and being written."""
        return self.reason == "Conflict" and not self.is_field_conflict


class Unreachable(Exception):
    """The API server does not answer."""


class NoSuchKind(Exception):
    """The API server does not know the kind: usually the definition of a custom resource is not installed."""

    def __init__(self, api_version: str, kind: str) -> None:
        super().__init__(f'no matches for kind "{kind}" in version "{api_version}"')


@dataclass(frozen=True)
class Kind:
    """A kind that the API server serves, at one version."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    def path(self, namespace: str = "", name: str = "") -> str:
        """The API path of an object, or without `name` that of the collection. `namespace` can be empty."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        scope = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


class Cluster:
    """A Kubernetes cluster. Can be used from many threads."""

    def __init__(self, access: Configuration) -> None:
        self._access = access
        self.server = access.host
        self._pool = urllib3.PoolManager(
            num_pools=2,
            maxsize=_CONNECTIONS,
            cert_reqs="CERT_REQUIRED" if access.verify_ssl else "CERT_NONE",
            ca_certs=access.ssl_ca_cert,
            cert_file=access.cert_file,
            key_file=access.key_file,
            timeout=urllib3.Timeout(connect=_CONNECT_TIMEOUT_SECONDS, read=_TIMEOUT_SECONDS),
            retries=False,
        )
        self._kinds: dict[str, dict[str, Kind]] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        """The decoded answer of the API server. Raises ApiError, or Unreachable if there is none."""
        url = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "Content-Type": content_type}
        if authorization := self._access.get_api_key_with_prefix("BearerToken", alias="authorization"):
            headers["Authorization"] = authorization
        data = None if body is None else json.dumps(body).encode()
        try:
            response = self._pool.request(method, url, body=data, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"{self.server}: {error}") from error
        text = response.data.decode()
        answer = json.loads(text) if text.startswith(("{", "[")) else text
        if response.status >= 400:
            raise ApiError(response.status, answer)
        return answer

    def kind(self, api_version: str, kind: str) -> Kind:
        """Finds a kind. Asks the API server again if it was unknown. Raises NoSuchKind."""
        known = self._kinds.get(api_version, {}).get(kind)
        if known is None:
            known = self._discover(api_version).get(kind)
        if known is None:
            raise NoSuchKind(api_version, kind)
        return known

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether the API server knows the kind."""
        try:
            self.kind(api_version, kind)
        except NoSuchKind:
            return False
        return True

    def kind_of(self, obj: Object) -> Kind:
        """The kind of `obj`. Raises NoSuchKind."""
        return self.kind(obj["apiVersion"], obj["kind"])

    def _discover(self, api_version: str) -> dict[str, Kind]:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            resources = self.request("GET", root).get("resources", [])
        except ApiError as error:
            if not error.is_not_found:
                raise
            resources = []
        found = {
            resource["kind"]: Kind(
                api_version, resource["kind"], resource["name"], resource["namespaced"], frozenset(resource["verbs"])
            )
            for resource in resources
            # The others are subresources, such as pods/eviction.
            if "/" not in resource["name"]
        }
        with self._lock:
            self._kinds[api_version] = found
        return found

    def all_kinds(self) -> list[Kind]:
        """Every kind that can be listed, at its preferred version."""
        groups = self.request("GET", "/apis")["groups"]
        versions = ["v1", *(group["preferredVersion"]["groupVersion"] for group in groups)]
        return [kind for version in versions for kind in self._discover(version).values() if "list" in kind.verbs]

    def get(self, obj: Object) -> Object:
        """The live object of `obj`. Raises ApiError (404) and NoSuchKind."""
        return self.request("GET", self.kind_of(obj).path(namespace_of(obj), name_of(obj)))

    def create(self, obj: Object, *, field_manager: str, dry_run: bool = False) -> Object:
        """Makes `obj`. An unknown field is an error. Raises ApiError and NoSuchKind."""
        query = self._options(field_manager, dry_run)
        return self.request("POST", self.kind_of(obj).path(namespace_of(obj)), obj, query=query)

    def apply(self, obj: Object, *, field_manager: str, force: bool, dry_run: bool = False) -> Object:
        """Applies `obj`, server side. Raises ApiError (a conflict over another manager's field) and NoSuchKind."""
        query = {**self._options(field_manager, dry_run), "force": str(force).lower()}
        path = self.kind_of(obj).path(namespace_of(obj), name_of(obj))
        return self.request("PATCH", path, obj, query=query, content_type=_APPLY)

    def replace(self, obj: Object, *, field_manager: str, dry_run: bool = False) -> Object:
        """Replaces the live object by `obj`, which has its resourceVersion."""
        path = self.kind_of(obj).path(namespace_of(obj), name_of(obj))
        return self.request("PUT", path, obj, query=self._options(field_manager, dry_run))

    def patch(self, obj: Object, operations: list[dict[str, Any]]) -> Object:
        """Applies the JSON Patch `operations` to the live object of `obj`."""
        path = self.kind_of(obj).path(namespace_of(obj), name_of(obj))
        return self.request("PATCH", path, operations, content_type=_JSON_PATCH)

    def delete(self, obj: Object, *, propagation: str) -> None:
        """Starts the deletion of `obj`. Raises ApiError and NoSuchKind."""
        path = self.kind_of(obj).path(namespace_of(obj), name_of(obj))
        self.request("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation})

    def objects(self, kind: Kind, namespace: str = "", **selectors: str) -> list[Object]:
        """The objects of a kind in a namespace, or everywhere. `selectors` are labelSelector and fieldSelector."""
        return self.request("GET", kind.path(namespace), query=selectors or None)["items"] or []

    def dependents(self, owner: Object) -> list[Object]:
        """The objects of all kinds with the owner `owner`: apiVersion, kind and metadata."""
        found = []
        for kind in self.all_kinds():
            try:
                items = self.request("GET", kind.path(namespace_of(owner)), accept=_METADATA_ONLY)["items"] or []
            except ApiError:
                continue
            for item in items:
                owners = item["metadata"].get("ownerReferences", [])
                if any(reference["uid"] == owner["metadata"]["uid"] for reference in owners):
                    found.append({**item, "apiVersion": kind.api_version, "kind": kind.kind})
        return found

    @staticmethod
    def _options(field_manager: str, dry_run: bool) -> dict[str, str]:
        options = {"fieldManager": field_manager, "fieldValidation": "Strict"}
        return {**options, "dryRun": "All"} if dry_run else options

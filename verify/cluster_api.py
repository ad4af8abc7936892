"""The cluster's API server, by a kubeconfig: objects as JSON, and HTTP to ports of pods."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import urlencode

from kubernetes import client, config, stream
from kubernetes.client.exceptions import ApiException

Object: TypeAlias = dict[str, Any]

RUNS = "gpulab-verify-"
"""How the namespace of a run begins; its id follows."""
_SECONDS = 30
_EVENTS_QUOTED = 5


class ClusterApi:
    """The API server of one context of a kubeconfig.

    Its methods raise kubernetes.client.ApiException for what is refused, and urllib3's errors where nobody answers.
    """

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        """Raises kubernetes.config.ConfigException for a kubeconfig or a context that is not there."""
        settings = client.Configuration()
        config.load_kube_config(kubeconfig, context, settings)
        settings.retries = False
        self._client = client.ApiClient(settings)
        self.server = settings.host

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request, decoded."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        asked = self._client.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        answer = self._client.call_api(*asked, _request_timeout=_SECONDS)
        text = (answer.read() or b"").decode()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise ApiException.from_response(http_resp=answer, body=text, data=None)
        return json.loads(text) if text.startswith("{") else text

    def get(self, path: str) -> Object | None:
        """An object; None if it is not there."""
        try:
            return self.request("GET", path)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def list(self, path: str, **selectors: str) -> list[Object]:
        """The objects of a collection; none where the API server does not know the kind."""
        found = self.get(f"{path}?{urlencode(selectors)}" if selectors else path)
        return (found or {}).get("items") or []

    def serves(self, group_version: str) -> bool:
        """Whether the API server knows a group and version, such as karpenter.sh/v1."""
        return self.get(f"/apis/{group_version}") is not None

    def delete(self, path: str) -> None:
        """Deletes an object at once; it may be gone already."""
        try:
            self.request("DELETE", path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})
        except ApiException as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    def events(self, namespace: str, name: str) -> str:
        """What Kubernetes said last of an object, a line each: the reason, and its message."""
        found = self.list(f"/api/v1/namespaces/{namespace}/events", fieldSelector=f"involvedObject.name={name}")
        found.sort(key=lambda event: event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
        return "\n".join(f"{event['reason']}: {event['message']}" for event in found[-_EVENTS_QUOTED:])

    def log(self, namespace: str, pod: str) -> str:
        """What a pod's only container has printed."""
        answer = self.request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/log")
        return answer if isinstance(answer, str) else json.dumps(answer)

    def connected(self, namespace: str, selector: Mapping[str, str], port: int) -> Any:
        """A socket to a port of a running pod. Raises OSError where none runs."""
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        pods = self.list(f"/api/v1/namespaces/{namespace}/pods", labelSelector=labels)
        running = [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"]
        if not running:
            raise ConnectionError(f"no pod of {labels} runs in the namespace {namespace}")
        # A client of its own: while this call opens its connection, another thread could not use it.
        core = client.CoreV1Api(client.ApiClient(self._client.configuration))
        forwarded = stream.portforward(
            core.connect_get_namespaced_pod_portforward, running[0], namespace, ports=str(port)
        )
        return forwarded.socket(port)

    def http_get(self, namespace: str, selector: Mapping[str, str], port: int, path: str) -> tuple[int, str]:
        """The status and the text that a port of a running pod answers with, as through `kubectl port-forward`.

        So neither an address nor a network policy is in the way. Raises OSError where no pod runs or answers.
        """
        connection = http.client.HTTPConnection("localhost", port, timeout=_SECONDS)
        connection.sock = self.connected(namespace, selector, port)
        connection.sock.settimeout(_SECONDS)
        try:
            connection.request("GET", path, headers={"Host": "localhost", "Connection": "close"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()


def conditions(obj: Object) -> dict[str, Object]:
    """An object's conditions by their type."""
    return {one["type"]: one for one in obj.get("status", {}).get("conditions") or ()}


def names(objects: Sequence[Object]) -> str:
    """The names of objects, for a sentence."""
    return ", ".join(one["metadata"]["name"] for one in objects)

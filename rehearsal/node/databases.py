"""PostgreSQL for the instances of the simulated RDS: a pod each, behind the instance's name, with its owner's password.

As on RDS with `rds.force_ssl`, it takes only connections with TLS. Its data ends with its pod.
"""

from __future__ import annotations

import json
import logging
import urllib.request
from collections.abc import Mapping
from typing import Any

from contracts.images import image
from rehearsal.authority import Authority
from rehearsal.controllers.world import PODS, SECRETS, Cluster, Object, place

NAMESPACE = "rehearsal-rds"
NAMESPACE_OBJECT: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
REWRITES = {r"(.*)\.[a-z0-9]+\.[a-z0-9-]+\.rds\.amazonaws\.com": f"{{1}}.{NAMESPACE}.svc.cluster.local"}
"""Names of instances, and the Services that stand for them, for the cluster's DNS."""
STAND_IN = "databases of RDS: PostgreSQL in a pod of the cluster, whose data ends with it"

_LABEL = "rehearsal.gpulab.dev/database"
_SERVICES = "/api/v1/services"
_PORT = 5432
_LOG = logging.getLogger("controllers.databases")
_SECONDS = 10
# As the user 26, whom the image has.
_START = """
set -eu
umask 077
printf %s "$OWNERS_PASSWORD" >/tmp/password
initdb --username="$OWNER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 /data/cluster
echo "hostssl all all all scram-sha-256" >>/data/cluster/pg_hba.conf
cp /tls/tls.key /tls/tls.crt /data/
[ "$DATABASE" = postgres ] || echo "CREATE DATABASE \\"$DATABASE\\"" | postgres --single -D /data/cluster postgres
exec postgres -D /data/cluster -c listen_addresses='*' -c unix_socket_directories=/tmp \
  -c ssl=on -c ssl_cert_file=/data/tls.crt -c ssl_key_file=/data/tls.key
"""


class Databases:
    """Keeps the pods in line with the instances of the AWS at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._authority = Authority()

    def reconcile(self, cluster: Cluster) -> None:
        """Starts PostgreSQL for new instances, and ends that of instances that are gone."""
        with urllib.request.urlopen(f"{self._url}/gpulab/databases", timeout=_SECONDS) as answer:
            wanted = {one["identifier"]: one for one in json.load(answer)}
        running = {pod["metadata"]["labels"][_LABEL] for pod in cluster.kubernetes.list(PODS, labelSelector=_LABEL)}
        for name in wanted.keys() - running:
            self._start(cluster, name, wanted[name])
        for name in running - wanted.keys():
            for collection in (PODS, _SERVICES, SECRETS):
                cluster.kubernetes.delete(place(collection, name, NAMESPACE))
            _LOG.info("%s is gone", name)

    def _start(self, cluster: Cluster, name: str, instance: Mapping[str, str]) -> None:
        signed = self._authority.signed(name, [f"{name}.{NAMESPACE}.svc"])
        values = {"password": instance["password"], "tls.crt": signed.certificate, "tls.key": signed.key}
        metadata = {"name": name, "namespace": NAMESPACE, "labels": {_LABEL: name}}
        ports = [{"port": _PORT, "targetPort": _PORT}]
        objects: Mapping[str, dict[str, Any]] = {
            SECRETS: {"kind": "Secret", "stringData": values},
            _SERVICES: {"kind": "Service", "spec": {"selector": {_LABEL: name}, "ports": ports}},
            PODS: {"kind": "Pod", "spec": _pod(name, instance)},
        }
        for collection, obj in objects.items():
            path = place(collection, name, NAMESPACE)
            if cluster.kubernetes.get(path) is None:
                cluster.kubernetes.create(path, {"apiVersion": "v1", "metadata": metadata, **obj})
        _LOG.info("%s starts", name)


def _pod(name: str, instance: Mapping[str, str]) -> dict[str, Any]:
    password = {"secretKeyRef": {"name": name, "key": "password"}}
    return {
        # It is no load of the cluster's, and none of its rules is for it.
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"gpulab.dev/system": "true"},
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": 26, "runAsGroup": 26, "fsGroup": 26},
        "containers": [
            {
                "name": "postgres",
                "image": image("postgresql"),
                "command": ["/bin/bash", "-c", _START],
                "env": [
                    {"name": "OWNER", "value": instance["user"]},
                    {"name": "DATABASE", "value": instance["database"]},
                    {"name": "OWNERS_PASSWORD", "valueFrom": password},
                ],
                "ports": [{"containerPort": _PORT}],
                "readinessProbe": {"tcpSocket": {"port": _PORT}, "periodSeconds": 1},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "tls", "mountPath": "/tls", "readOnly": True},
                ],
            }
        ],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tls", "secret": {"secretName": name}}],
    }

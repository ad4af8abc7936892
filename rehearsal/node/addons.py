"""What every cluster has before a stack: DNS for pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rehearsal.controllers.world import Object

from .kubelet import DNS_ADDRESS

COREDNS = "registry.k8s.io/coredns/coredns:v1.12.4"
_NAMESPACE = "kube-system"
_LABELS = {"k8s-app": "kube-dns"}
# Nothing outside of the machine answers, and a name that nobody has is soon known.
_COREFILE = """\
.:53 {
    errors
    health
    ready
%s    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }
    hosts {
        %s
        fallthrough
    }
    cache 5
    loadbalance
}
"""


def coredns(names: Mapping[str, str], rewrites: Mapping[str, str]) -> list[Object]:
    """CoreDNS with the label by which network policies know it.

    `names` are addresses by name, beside the cluster's. `rewrites` are names in the cluster by the pattern of others
    that stand for them: CoreDNS' regular expressions, whose groups are {1}, {2} in the name.
    """
    hosts = "\n        ".join(f"{address} {name}" for name, address in names.items())
    rules_of_names = "".join(
        f"    rewrite stop {{\n        name regex {pattern} {name}\n        answer auto\n    }}\n"
        for pattern, name in rewrites.items()
    )
    corefile = _COREFILE % (rules_of_names, hosts)
    metadata = {"name": "coredns", "namespace": _NAMESPACE, "labels": _LABELS}
    rules = [
        {
            "apiGroups": [""],
            "resources": ["endpoints", "services", "pods", "namespaces"],
            "verbs": ["list", "watch"],
        },
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"}
    subject = {"kind": "ServiceAccount", "name": "coredns", "namespace": _NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": role["name"]},
            "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role["name"]},
            "roleRef": role,
            "subjects": [subject],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": corefile}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**metadata, "name": "kube-dns"},
            "spec": {
                "clusterIP": DNS_ADDRESS,
                "selector": _LABELS,
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": _LABELS},
                "template": {"metadata": {"labels": _LABELS}, "spec": _pod()},
            },
        },
    ]


def _pod() -> dict[str, Any]:
    return {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": "coredns",
                "image": COREDNS,
                "args": ["-conf", "/etc/coredns/Corefile"],
                "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }

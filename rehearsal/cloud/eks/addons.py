"""EKS addons and their published versions."""

from __future__ import annotations

import json
import uuid
from typing import Any

import yaml
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.eks.models import paginated_list

import contracts.eks
from rehearsal.cloud.eks import checks, in_cluster
from rehearsal.cloud.eks.pod_identity import associate
from rehearsal.cloud.eks.state import Cluster, Operations, in_use, invalid, missing
from rehearsal.cloud.versions import versions

# Addons whose Deployment needs a node; the others are DaemonSets, which need none.
_NEEDS_NODES = ("coredns", "aws-ebs-csi-driver", "aws-efs-csi-driver", "snapshot-controller")
# The top-level keys of an addon's configuration schema (`aws eks describe-addon-configuration`). The list is kept by
# hand, and only for coredns; other addons' keys are not checked. vpc-cni's switches are strings ("true").
_CONFIGURATION = {
    "coredns": {
        "affinity",
        "autoScaling",
        "computeType",
        "corefile",
        "nodeSelector",
        "podAnnotations",
        "podDisruptionBudget",
        "podLabels",
        "replicaCount",
        "resources",
        "tolerations",
        "topologySpreadConstraints",
    },
}
_TOLERATED = ("CriticalAddonsOnly", "node-role.kubernetes.io/control-plane")
_NAMESPACE = "kube-system"
_RESOLVE_CONFLICTS = ("NONE", "OVERWRITE", "PRESERVE")


class AddonOperations(Operations):
    """The operations on addons."""

    def create_addon(self) -> ActionResult:
        cluster, name = self.cluster(), self.parameter("addonName")
        if name in cluster.addons:
            raise in_use("Addon already exists.", clusterName=cluster.name, addonName=name)
        addon = {
            "addonName": name,
            "clusterName": cluster.name,
            "addonVersion": self._version(cluster, name, default=True),
            "addonArn": self.arn(f"addon/{cluster.name}/{name}/{uuid.uuid4()}"),
            "createdAt": utcnow(),
            "modifiedAt": utcnow(),
            "tags": self.parameter("tags", {}),
            "podIdentityAssociations": [],
            **self._settings(cluster, name),
        }
        self._associate(cluster, addon)
        in_cluster.install(name)
        cluster.addons[name] = addon
        return ActionResult({"addon": with_health(cluster, addon)})

    def describe_addon(self) -> ActionResult:
        cluster = self.cluster()
        return ActionResult({"addon": with_health(cluster, self._addon(cluster))})

    def list_addons(self) -> ActionResult:
        names, token = paginated_list(
            list(self.cluster().addons), self.parameter("maxResults", 100), self.parameter("nextToken")
        )
        return ActionResult({"addons": names, "nextToken": token})

    def update_addon(self) -> ActionResult:
        cluster = self.cluster()
        addon = self._addon(cluster)
        change = {"addonVersion": self._version(cluster, addon["addonName"])} if self.parameter("addonVersion") else {}
        change |= self._settings(cluster, addon["addonName"])
        # EKS resets the configuration and the role that an update leaves out, unless conflicts are preserved.
        if self.parameter("resolveConflicts") != "PRESERVE":
            for key in ("configurationValues", "serviceAccountRoleArn"):
                addon.pop(key, None)
        addon |= {**change, "modifiedAt": utcnow()}
        self._associate(cluster, addon)
        return ActionResult({"update": cluster.updated("AddonUpdate", change)})

    def delete_addon(self) -> ActionResult:
        cluster = self.cluster()
        addon = self._addon(cluster)
        _drop_associations(cluster, addon)
        if not self.parameter("preserve", False):
            in_cluster.uninstall(addon["addonName"])
        del cluster.addons[addon["addonName"]]
        return ActionResult({"addon": {**addon, "status": "DELETING"}})

    def describe_addon_versions(self) -> ActionResult:
        wanted, kubernetes = self.parameter("addonName"), self.parameter("kubernetesVersion")
        addons = []
        for name in [wanted] if wanted else contracts.eks.addons():
            supported: dict[str, list[dict[str, Any]]] = {}
            for version in [kubernetes] if kubernetes else reversed(versions()):
                for index, published in enumerate(contracts.eks.addon_versions(name, version)):
                    supported.setdefault(published, []).append(
                        {"clusterVersion": version, "platformVersions": ["*"], "defaultVersion": index == 0}
                    )
            infos = [
                {"addonVersion": version, "architecture": ["amd64", "arm64"], "compatibilities": clusters}
                for version, clusters in supported.items()
            ]
            if infos:
                addons.append(
                    {
                        "addonName": name,
                        "type": "networking",
                        "owner": "aws",
                        "publisher": "eks",
                        "addonVersions": infos,
                    }
                )
        if wanted and wanted not in contracts.eks.addons():
            raise invalid(f"Addon {wanted} specified is not supported", addonName=wanted)
        return ActionResult({"addons": addons})

    def _addon(self, cluster: Cluster) -> dict[str, Any]:
        name = self.parameter("addonName")
        if name not in cluster.addons:
            raise missing(
                f"No addon: {name} found in cluster: {cluster.name}", clusterName=cluster.name, addonName=name
            )
        return cluster.addons[name]

    def _version(self, cluster: Cluster, name: str, default: bool = False) -> str:
        published = contracts.eks.addon_versions(name, cluster.version)
        if not published:
            raise invalid(f"Addon {name} specified is not supported", clusterName=cluster.name, addonName=name)
        wanted = self.parameter("addonVersion", published[0] if default else None)
        if wanted not in published:
            raise invalid(
                f"Addon version specified is not supported: {wanted} of {name} for Kubernetes {cluster.version}",
                clusterName=cluster.name,
                addonName=name,
            )
        return wanted

    def _settings(self, cluster: Cluster, name: str) -> dict[str, Any]:
        """Checks and returns the settings that create and update share."""
        if self.parameter("resolveConflicts", "NONE") not in _RESOLVE_CONFLICTS:
            raise invalid(f"unknown resolveConflicts {self.parameter('resolveConflicts')}", addonName=name)
        settings: dict[str, Any] = {}
        if (role := self.parameter("serviceAccountRoleArn")) is not None:
            if checks.role_of(self, role) is None:
                raise invalid(f"Role {role} does not exist", clusterName=cluster.name, addonName=name)
            settings["serviceAccountRoleArn"] = role
        if text := self.parameter("configurationValues"):
            _check_configuration(name, _configuration(text))
            settings["configurationValues"] = text
        return settings

    def _associate(self, cluster: Cluster, addon: dict[str, Any]) -> None:
        """Replaces the addon's Pod Identity associations with those in the request."""
        if (wanted := self.parameter("podIdentityAssociations")) is None:
            return
        _drop_associations(cluster, addon)
        for association in wanted:
            account, role, owner = association["serviceAccount"], association["roleArn"], addon["addonArn"]
            made = associate(self, cluster, _NAMESPACE, account, role, tags=addon["tags"], ownerArn=owner)
            addon["podIdentityAssociations"].append(made["associationArn"])


def _drop_associations(cluster: Cluster, addon: dict[str, Any]) -> None:
    for arn in addon["podIdentityAssociations"]:
        del cluster.pod_identity_associations[arn.rpartition("/")[2]]
    addon["podIdentityAssociations"] = []


def _check_configuration(addon: str, values: Any) -> None:
    """Refuses values that the known part of the addon's schema does not allow."""
    if not isinstance(values, dict):
        raise invalid(
            "ConfigurationValue provided in request is not supported: no JSON or YAML mapping", addonName=addon
        )
    unknown = values.keys() - _CONFIGURATION.get(addon, values.keys())
    flags = [key for key, value in values.items() if addon == "vpc-cni" and isinstance(value, bool)]
    if unknown:
        why = f"$.{min(unknown)}: is not defined in the schema and the schema does not allow additional properties"
    elif flags:
        why = f"$.{flags[0]}: boolean found, string expected"
    else:
        return
    why = f"Json schema validation failed with error: [{why}]"
    raise invalid(f"ConfigurationValue provided in request is not supported: {why}", addonName=addon)


def _configuration(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def with_health(cluster: Cluster, addon: dict[str, Any]) -> dict[str, Any]:
    """`addon` with its status: it is degraded if it needs a node and there is none that its pods tolerate."""
    issues = []
    if addon["addonName"] in _NEEDS_NODES and not _has_node_for(cluster, addon):
        issues = [
            {
                "code": "InsufficientNumberOfReplicas",
                "message": "The add-on is unhealthy because it doesn't have the desired number of replicas.",
                "resourceIds": [],
            }
        ]
    return {**addon, "status": "DEGRADED" if issues else "ACTIVE", "health": {"issues": issues}}


def _has_node_for(cluster: Cluster, addon: dict[str, Any]) -> bool:
    configuration = _configuration(addon.get("configurationValues", "{}"))
    tolerations = configuration.get("tolerations", []) or configuration.get("controller", {}).get("tolerations", [])
    tolerated = {*_TOLERATED, *(toleration.get("key") for toleration in tolerations)}
    return any(
        cluster.nodes[name]
        and all(
            None in tolerated or taint["key"] in tolerated
            for taint in group.taints
            if taint["effect"] != "PREFER_NO_SCHEDULE"
        )
        for name, group in cluster.nodegroups.items()
    )

"""The changes of each kind that cannot be made in place, as in provider/pkg/provider/diff.go of the plugin."""

from __future__ import annotations

from collections.abc import Iterable

from rehearsal.providers.protocol.model import Path

_IDENTITY = ("metadata.name", "metadata.namespace")
_SELECTOR = ("spec.selector",)
_ROLE_REFERENCE = ("roleRef",)
_POD_SPEC = """
    affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC hostNetwork
    hostPID hostname imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority priorityClassName
    readinessGates restartPolicy runtimeClassName schedulerName securityContext serviceAccount serviceAccountName
    shareProcessNamespace subdomain terminationGracePeriodSeconds volumes
"""
_CONTAINER = """
    args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe resources securityContext stdin
    stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir
"""
_VOLUME_SOURCES = """
    awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk glusterfs
    hostPath iscsi local nfs photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume
"""

_FORCE_NEW: dict[tuple[str, str], Iterable[str]] = {
    ("v1", "PersistentVolume"): [f"spec.{source}" for source in _VOLUME_SOURCES.split()],
    ("v1", "PersistentVolumeClaim"): ("spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeName"),
    ("v1", "Pod"): [
        *(f"spec.{field}" for field in _POD_SPEC.split()),
        *(
            f"spec.{containers}.{field}"
            for containers in ("containers", "initContainers")
            for field in _CONTAINER.split()
        ),
    ],
    ("v1", "ResourceQuota"): ("spec.scopes",),
    ("v1", "Service"): ("spec.clusterIP",),
    ("apps/v1", "DaemonSet"): _SELECTOR,
    ("apps/v1", "Deployment"): _SELECTOR,
    ("apps/v1", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("batch/v1", "Job"): ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): _ROLE_REFERENCE,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): _ROLE_REFERENCE,
    ("storage.k8s.io/v1", "StorageClass"): ("parameters", "provisioner"),
}
_SECRET_DATA = ("type", "stringData", "data")
_CONFIG_MAP_DATA = ("binaryData", "data")


def replacing_paths(
    changed: Iterable[Path],
    api_version: str,
    kind: str,
    *,
    immutable: bool,
    config_map_mutable: bool = False,
    secret_mutable: bool = False,
) -> frozenset[Path]:
    """The `changed` paths of an object that replace it.

    `immutable` is the field of the object. ConfigMaps and Secrets are always replaced, so that the pods that mount them
    restart, unless the provider has enableConfigMapMutable or enableSecretMutable.
    """
    fields = [*_IDENTITY, *_FORCE_NEW.get((api_version, kind), ())]
    if (api_version, kind) == ("v1", "Secret"):
        fields += _SECRET_DATA if immutable or not secret_mutable else ("type",)
    elif (api_version, kind) == ("v1", "ConfigMap") and (immutable or not config_map_mutable):
        fields += _CONFIG_MAP_DATA
    force_new = {tuple(field.split(".")) for field in fields}

    def replaces(path: Path) -> bool:
        names = tuple(part for part in path if isinstance(part, str))
        return any(names[:end] in force_new for end in range(1, len(names) + 1))

    return frozenset(path for path in changed if replaces(path))

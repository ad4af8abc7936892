"""A cluster with kubelets of its own, such as one of kind or k3s, in place of a rig: `--kubeconfig FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from rehearsal.controllers.world import Object
from rehearsal.machine.control_plane import ControlPlane, kubeconfig_of
from rehearsal.machine.tools import ToolMissing
from rehearsal.providers.kubernetes import configuration
from rehearsal.providers.kubernetes.client import ApiError, Cluster, Unreachable
from rehearsal.providers.kubernetes.configuration import NoAccess
from rehearsal.site import cluster

_NAME = "gpulab-rehearsal"
_ROLE = "cluster-admin"
# The rehearsal of any stack ends before.
_TOKEN_SECONDS = 4 * 3600


class ClusterUnusable(ToolMissing):
    """The cluster of a kubeconfig can't be rehearsed on. The message names the file, and says what to do."""


def connect(kubeconfig: Path, folder: Path) -> ControlPlane:
    """The API server of the file's current context, as an administrator of its own. Raises ClusterUnusable."""
    named = f"--kubeconfig {kubeconfig}:"
    try:
        access = configuration.access({"kubeconfig": str(kubeconfig)})
        token = _administrator(Cluster(access))
    except (OSError, NoAccess) as error:
        raise ClusterUnusable(f"{named} {error}") from error
    except (UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:  # as the client fails then
        raise ClusterUnusable(f"{named} it is not a kubeconfig. Name a file that kubectl can use.") from error
    except Unreachable as error:
        raise ClusterUnusable(f"{named} its cluster does not answer ({error}). Start it, or name another.") from error
    except ApiError as error:
        raise ClusterUnusable(f"{named} {error}. Use a context with the rights of {_ROLE}.") from error
    ca = Path(access.ssl_ca_cert).read_text(encoding="ascii") if access.ssl_ca_cert else ""
    plane = ControlPlane(url=access.host, ca=ca, token=token, kubeconfig=folder / "kubeconfig")
    plane.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    plane.kubeconfig.touch(mode=0o600)
    plane.kubeconfig.write_text(yaml.safe_dump(kubeconfig_of(plane.url, ca=ca, token=token)), encoding="utf-8")
    return plane


def disconnect(kubeconfig: Path, objects: Sequence[Object]) -> None:
    """Removes `objects`, and the account that `connect` made, by the user's own rights."""
    client = Cluster(configuration.access({"kubeconfig": str(kubeconfig)}))
    for obj in reversed([*_account(), *objects]):
        try:
            client.delete(obj, propagation="Background")
        except ApiError as error:
            if not error.is_not_found:  # it goes with its namespace
                raise


def _administrator(client: Cluster) -> str:
    """The token of an account that may do everything."""
    cluster.fill(client, _account())
    path = f"/api/v1/namespaces/{_NAME}/serviceaccounts/{_NAME}/token"
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": _TOKEN_SECONDS},
    }
    return client.request("POST", path, body=request)["status"]["token"]


def _account() -> list[Object]:
    metadata = {"name": _NAME}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**metadata, "namespace": _NAME}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _ROLE},
            "subjects": [{"kind": "ServiceAccount", "name": _NAME, "namespace": _NAME}],
        },
    ]

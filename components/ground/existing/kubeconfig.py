"""Finds a context in a kubeconfig file. What is wrong with the file is an error that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import yaml

if TYPE_CHECKING:
    from settings.ground import ExistingGround

FILE_KEY, CONTEXT_KEY = "gpulab:ground.kubeconfig", "gpulab:ground.context"

# docs.k3s.io/cluster-access, docs.rke2.io/cluster_access, microk8s.io/docs/working-with-kubectl, docs.siderolabs.com
# (talosctl kubeconfig), kind.sigs.k8s.io, kubernetes.io (create-cluster-kubeadm), and the clouds' command lines.
_WHERE_FROM = {
    "k3s": "k3s has it on its server in /etc/rancher/k3s/k3s.yaml, for root",
    "rke2": "RKE2 has it on its servers in /etc/rancher/rke2/rke2.yaml, for root",
    "talos": "`talosctl kubeconfig FILE` writes it",
    "microk8s": "`microk8s config > FILE` writes it",
    "kind": "`kind export kubeconfig --kubeconfig FILE` writes it",
    "kubeadm": "kubeadm has it on its control plane in /etc/kubernetes/admin.conf, for root",
    "eks": "`aws eks update-kubeconfig --name CLUSTER --kubeconfig FILE` writes it",
    "aks": "`az aks get-credentials --name CLUSTER --resource-group GROUP --file FILE` writes it",
    "gke": "`gcloud container clusters get-credentials CLUSTER` writes it",
}


class ClusterError(pulumi.RunError):
    """The cluster that a stack file names can't be read. The message says why, and what to do."""


def path_of(ground: ExistingGround, folder: Path) -> Path:
    """Where the kubeconfig file is. `folder` is the project's, from which relative paths count.

    Raises ClusterError if the file belongs to a user of the machine who doesn't exist.
    """
    try:
        return folder / Path(ground.kubeconfig).expanduser()
    except RuntimeError as error:
        raise ClusterError(f"{FILE_KEY}: {ground.kubeconfig}: {error}") from None


def check_context(ground: ExistingGround, path: Path) -> None:
    """Checks that the file has the ground's context, with its cluster and its user. Raises ClusterError."""
    content = _content(ground, path)
    contexts, known, users = (_by_name(content, key) for key in ("contexts", "clusters", "users"))
    if ground.context not in contexts:
        there = f"it has {', '.join(sorted(contexts))}" if contexts else "it has none"
        raise ClusterError(
            f"{CONTEXT_KEY}: {path} has no context {ground.context}: {there}. Write one of those, or as {FILE_KEY} the "
            "file that has it. The current context is never used"
        )
    context = contexts[ground.context].get("context") or {}
    for what, names in (("cluster", known), ("user", users)):
        if context.get(what) not in names:
            raise ClusterError(
                f"{CONTEXT_KEY}: in {path} the context {ground.context} names the {what} {context.get(what)}, which is "
                f"missing there: {_get(ground)}"
            )


def _content(ground: ExistingGround, path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClusterError(f"{FILE_KEY}: there is no file {path}: {_get(ground)}") from None
    except (PermissionError, IsADirectoryError) as error:
        raise ClusterError(
            f"{FILE_KEY}: {path} can't be read ({error.strerror}): copy it to a file of your own, which only you can "
            "read, and write that file's path"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first = str(error).partition("\n")[0]
        raise ClusterError(f"{FILE_KEY}: {path} is no kubeconfig ({first}): {_get(ground)}") from None
    if not isinstance(content, dict) or not isinstance(content.get("contexts"), list):
        raise ClusterError(f"{FILE_KEY}: {path} is no kubeconfig, as it has no list of contexts: {_get(ground)}")
    return content


def _get(ground: ExistingGround) -> str:
    return f"write the path of the cluster's kubeconfig ({_WHERE_FROM[ground.distribution]})"


def _by_name(content: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    entries = content.get(key) or ()
    return {entry["name"]: entry for entry in entries if isinstance(entry, dict) and "name" in entry}

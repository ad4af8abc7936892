"""A real Kubernetes control plane on this machine: etcd, kube-apiserver, controller-manager, scheduler and KWOK.

Each rehearsal has its own, on free ports of the loopback address and with its files in one folder. Only the rehearsal
can sign in: with the administrator's random token, or, for EKS, through the simulated AWS, which answers the API
server's token reviews like EKS's authenticator.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import ssl
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rehearsal.authority import Signed

from .processes import Processes, free_ports
from .toolchain import Toolchain

# Servers written in Go collect garbage twice as often with this, so a rehearsal needs less than 2 GiB.
FRUGAL = {"GOGC": "50"}

_READY_SECONDS = 240
# The size of the program's default service network on EKS; nothing listens there.
_SERVICE_CIDR = "10.100.0.0/16"


@dataclass(frozen=True, kw_only=True)
class RealNodes:
    """What a control plane needs for kubelets that run: KWOK does not.

    Pods reach the API server at `address`, at a port of its own choice if `port` is 0. Each node signs in with a
    certificate of its name, which `authority` has signed. `client_certificate` and `client_key` are files by which
    kubelets know the API server.
    """

    address: str
    authority: Path
    client_certificate: Path
    client_key: Path
    port: int = 0

    def options(self) -> list[str]:
        """Options of the API server."""
        return [
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--client-ca-file={self.authority}",
            f"--kubelet-client-certificate={self.client_certificate}",
            f"--kubelet-client-key={self.client_key}",
            # A node's name is known nowhere.
            "--kubelet-preferred-address-types=InternalIP",
        ]


# Without kubelets. A chart's webhook would make the API server refuse its objects, as no pod serves anything.
_WITHOUT_NODES = (
    "--bind-address=127.0.0.1",
    "--endpoint-reconciler-type=none",
    "--disable-admission-plugins=MutatingAdmissionWebhook,ValidatingAdmissionWebhook",
)


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane. `ca` is the PEM certificate to trust, `kubeconfig` a file with full access."""

    url: str
    ca: str
    token: str
    kubeconfig: Path

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Calls the API server as administrator and returns its answer, decoded. Raises urllib.error.HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, context=ssl.create_default_context(cadata=self.ca), timeout=30) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith("{") else text

    def apply(self, manifest: dict[str, Any], path: str) -> None:
        """Applies `manifest` at the API path of its collection, server side."""
        where = f"{path}/{manifest['metadata']['name']}?fieldManager=rehearsal&force=true"
        self.request("PATCH", where, manifest, "application/apply-patch+yaml")


def start(
    folder: Path,
    toolchain: Toolchain,
    processes: Processes,
    *,
    token_review_url: str | None = None,
    bindings: Sequence[dict[str, Any]] = (),
    nodes: RealNodes | None = None,
) -> ControlPlane:
    """Starts a control plane with its files in `folder` and returns when it answers.

    The API server sends every token except the administrator's to `token_review_url`, if there is one. `bindings` are
    ClusterRoles and ClusterRoleBindings that exist from the start. Without `nodes` that are real, KWOK is all kubelets.
    Raises ProcessFailed.
    """
    if nodes:
        reach_directly(nodes.address)
    folder.mkdir(parents=True, exist_ok=True)
    etcd_port, peer_port, free_port, manager_port, scheduler_port = free_ports(5)
    api_port = (nodes and nodes.port) or free_port
    etcd_url, url = f"http://127.0.0.1:{etcd_port}", f"https://{nodes.address if nodes else '127.0.0.1'}:{api_port}"
    token = secrets.token_urlsafe(24)
    certificates = folder / "certificates"
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), **FRUGAL}

    processes.start(
        "etcd",
        [
            toolchain.path("etcd"),
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
            f"--initial-cluster=default=http://127.0.0.1:{peer_port}",
            # The data is thrown away anyway, so it may be lost in a power cut.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        environment,
    )
    private_key = _write(folder / "service-accounts.key", _rsa_key())
    tokens = _write(folder / "tokens.csv", f'{token},rehearsal,rehearsal,"system:masters"\n')
    reviewer = []
    if token_review_url:
        review = _write(folder / "token-review.yaml", yaml.safe_dump(kubeconfig_of(token_review_url)))
        reviewer = [f"--authentication-token-webhook-config-file={review}", "--authentication-token-webhook-version=v1"]
    processes.start(
        "kube-apiserver",
        [
            toolchain.path("kube-apiserver"),
            f"--etcd-servers={etcd_url}",
            *(nodes.options() if nodes else _WITHOUT_NODES),
            f"--secure-port={api_port}",
            f"--cert-dir={certificates}",
            f"--service-account-issuer={url}",
            f"--service-account-key-file={private_key}",
            f"--service-account-signing-key-file={private_key}",
            f"--service-cluster-ip-range={_SERVICE_CIDR}",
            f"--token-auth-file={tokens}",
            *reviewer,
            "--authorization-mode=Node,RBAC",
            "--allow-privileged",
            # With the cache, a CRD that is created, deleted and created again may stay unready (seen with 1.34.2).
            "--watch-cache=false",
        ],
        environment,
    )
    certificate = certificates / "apiserver.crt"
    processes.wait_until("kube-apiserver", certificate.exists, seconds=_READY_SECONDS, needs=["etcd"])
    plane = ControlPlane(
        url=url, ca=certificate.read_text(encoding="ascii"), token=token, kubeconfig=folder / "kubeconfig"
    )
    _write(plane.kubeconfig, yaml.safe_dump(kubeconfig_of(url, ca=plane.ca, token=token)))
    processes.wait_until("kube-apiserver", lambda: _answers(plane, "/readyz"), seconds=_READY_SECONDS, needs=["etcd"])
    for binding in bindings:
        plural = f"{binding['kind'].lower()}s"
        plane.apply(binding, f"/apis/rbac.authorization.k8s.io/v1/{plural}")

    processes.start(
        "kube-controller-manager",
        [
            toolchain.path("kube-controller-manager"),
            f"--kubeconfig={plane.kubeconfig}",
            f"--service-account-private-key-file={private_key}",
            f"--root-ca-file={certificate}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            # KWOK's nodes have no heartbeat. After 50 s without one, the default, nodes and pods count as dead. A stack
            # may be kept for a year, as long as the API server's certificate is valid.
            *([] if nodes else ["--node-monitor-grace-period=8760h"]),
            # Its two workers may write to the same volume. The losing claim waits for the next round, 15 s by default.
            "--pvclaimbinder-sync-period=1s",
            # The default is 20 calls a second, and deleting one namespace takes more than a hundred.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--bind-address=127.0.0.1",
            f"--secure-port={manager_port}",
            f"--cert-dir={certificates / 'controller-manager'}",
        ],
        environment,
    )
    processes.start(
        "kube-scheduler",
        [
            toolchain.path("kube-scheduler"),
            f"--kubeconfig={plane.kubeconfig}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={scheduler_port}",
            f"--cert-dir={certificates / 'scheduler'}",
        ],
        environment,
    )
    if nodes is None:
        _start_kwok(processes, toolchain, plane, environment)
    # The controller manager creates this account. Once it exists, namespaces are usable.
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    processes.wait_until(
        "kube-controller-manager",
        lambda: _answers(plane, account),
        seconds=_READY_SECONDS,
        needs=["kube-apiserver", "kube-scheduler", *([] if nodes else ["kwok"])],
    )
    return plane


def reach_directly(host: str) -> None:
    """Makes calls of this process to `host` bypass the user's proxy, which is only for the toolchain's downloads."""
    if not urllib.request.proxy_bypass(host):
        others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        os.environ["no_proxy"] = f"{others},{host}" if others else host


def _start_kwok(processes: Processes, toolchain: Toolchain, plane: ControlPlane, env: Mapping[str, str]) -> None:
    """Starts what is the kubelet of every node."""
    processes.start(
        "kwok",
        [
            toolchain.path("kwok"),
            f"--kubeconfig={plane.kubeconfig}",
            "--manage-all-nodes",
            # With leases, KWOK never runs a pod that is bound after KWOK took the node's lease and before it sees this
            # (kwok v0.7.0, controllers: NodeLeaseController.Held reads a cache, PodController.readOnly reads it once
            # for each pod).
            "--node-lease-duration-seconds=0",
        ],
        env,
    )


def _answers(plane: ControlPlane, path: str) -> bool:
    try:
        plane.request("GET", path)
    except OSError:
        return False
    return True


def kubeconfig_of(
    server: str, *, ca: str | None = None, token: str | None = None, signed: Signed | None = None
) -> dict[str, Any]:
    """A kubeconfig of one cluster and one user, for clients or for the API server's webhook.

    The user has a `token` or a `signed` certificate.
    """
    cluster: dict[str, Any] = {"server": server}
    if ca:
        cluster["certificate-authority-data"] = _base64(ca)
    user = {"token": token} if token else {}
    if signed:
        user = {
            "client-certificate-data": _base64(signed.certificate),
            "client-key-data": _base64(signed.key),
        }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "rehearsal", "cluster": cluster}],
        "users": [{"name": "rehearsal", "user": user}],
        "contexts": [{"name": "rehearsal", "context": {"cluster": "rehearsal", "user": "rehearsal"}}],
        "current-context": "rehearsal",
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _rsa_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _write(path: Path, text: str) -> Path:
    """Writes a file that only this user can read: it may contain a key or a token."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path

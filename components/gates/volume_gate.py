"""Makes a destroy wait, before it deletes the CSI drivers, until they have deleted their volumes.

Deleting a claim returns at once; the driver deletes its volume later. A destroy that deleted the driver in between
would leave the volume in EC2, where nobody looks for it.

`pulumi destroy` does not run the program, so a dynamic provider waits. Pulumi keeps its module and class name in the
state. Rename neither while a stack refers to it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pulumi
from pulumi.dynamic import Resource

from components.gates.access import AccessError, api_client, problem
from components.gates.remembered import RememberedProvider

TIMEOUT_SECONDS = 15 * 60
_POLL_SECONDS = 2
_REPORT_SECONDS = 30
_REQUEST_SECONDS = 20
# The Kubernetes provider's variable for a cluster that was deleted by hand: its objects then count as deleted.
DELETE_UNREACHABLE = "PULUMI_K8S_DELETE_UNREACHABLE"
_GONE_AFTER_SECONDS = 15


class VolumesLeftError(Exception):
    """Volumes were left at the timeout. The message names them and says what to do."""


@dataclass(frozen=True, kw_only=True)
class LeftVolume:
    """A PersistentVolume that its driver has not deleted yet, and its claim, as NAMESPACE/NAME."""

    name: str
    phase: str
    claim: str

    def __str__(self) -> str:
        return f"{self.name} ({self.phase}, of the claim {self.claim})"


class VolumeGateProvider(RememberedProvider):
    """Waits when its resource is deleted, and does nothing else."""

    id: ClassVar[str] = "volumes"
    keys: ClassVar[tuple[str, ...]] = ("kubeconfig", "timeout", "namespaces")

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Waits until the volumes are gone. Raises VolumesLeftError."""
        kubeconfig, seconds = json.loads(_props["kubeconfig"]), float(_props["timeout"])
        within = _props.get("namespaces")
        taken_for_gone = os.environ.get(DELETE_UNREACHABLE) == "true"
        wait_until_gone(
            lambda: left_volumes(persistent_volumes(kubeconfig), within),
            seconds,
            unreachable_is_gone=taken_for_gone,
            on_site=within is not None,
        )


class VolumeGate(Resource, module="gpulab", name="VolumeGate"):
    """The gate between claims and drivers.

    What makes claims depends on it; it depends on the drivers and their nodes.
    """

    def __init__(
        self,
        name: str,
        kubeconfig: pulumi.Input[str],
        timeout: int = TIMEOUT_SECONDS,
        opts: pulumi.ResourceOptions | None = None,
        *,
        namespaces: Sequence[str] | None = None,
    ) -> None:
        """`kubeconfig` is the cluster's (`components.gates.access`), `timeout` the seconds that a deletion waits.

        `namespaces` are those whose volumes it waits for; None: those of the whole cluster, which goes with the stack.
        """
        # The engine's timeout must be longer, so that the provider's own message is shown.
        bound = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete=f"{timeout + 60}s"))
        super().__init__(
            VolumeGateProvider(),
            name,
            {
                "kubeconfig": kubeconfig,
                "timeout": timeout,
                **({} if namespaces is None else {"namespaces": sorted(namespaces)}),
            },
            pulumi.ResourceOptions.merge(opts, bound),
        )


def persistent_volumes(kubeconfig: dict[str, Any]) -> list[dict[str, Any]]:
    """The cluster's PersistentVolumes as JSON. Raises what the Kubernetes client raises."""
    with api_client(kubeconfig) as client:
        import kubernetes  # noqa: PLC0415 (`api_client` says why)

        answer: Any = kubernetes.client.CoreV1Api(client).list_persistent_volume(
            _preload_content=False, _request_timeout=_REQUEST_SECONDS
        )
        return json.loads(answer.data)["items"]


def left_volumes(volumes: Iterable[dict[str, Any]], namespaces: Collection[str] | None = None) -> list[LeftVolume]:
    """The volumes that are deleted with their claim, of claims in `namespaces`, or of all.

    Those with the reclaim policy Retain stay, so they are left out.
    """
    return [
        LeftVolume(
            name=volume["metadata"]["name"],
            phase=volume.get("status", {}).get("phase", "Pending"),
            claim="{namespace}/{name}".format_map(
                {"namespace": "-", "name": "-", **volume["spec"].get("claimRef", {})}
            ),
        )
        for volume in volumes
        if volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        and (namespaces is None or volume["spec"].get("claimRef", {}).get("namespace") in namespaces)
    ]


def wait_until_gone(
    look: Callable[[], Sequence[LeftVolume]],
    seconds: float,
    *,
    unreachable_is_gone: bool = False,
    on_site: bool = False,
    say: Callable[[str], None] = lambda text: print(text, flush=True),
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Waits until `look` finds no volumes; reports at first, and every 30 s, which ones it waits for.

    If the API server does not answer, it tries again. With `unreachable_is_gone`, a server that has never answered
    counts as deleted after 15 s, and its volumes too. `on_site`: the cluster is not the stack's own. Raises
    VolumesLeftError after `seconds`, and at once for a kubeconfig that does not lead to the cluster.
    """
    began = now()
    reported: float | None = None
    answered = False
    while True:
        try:
            left, failure, answered = list(look()), None, True
        except Exception as error:  # many types: from the client, the network, the credential plugin
            left, failure = [], problem(error)
            if isinstance(error, AccessError) and not unreachable_is_gone:
                raise VolumesLeftError(unreachable_message(failure, on_site=on_site)) from None
        if not left and failure is None:
            if reported is not None:
                say(f"The last PersistentVolume was gone after {now() - began:.0f} s.")
            return
        if unreachable_is_gone and not answered and now() - began >= _GONE_AFTER_SECONDS:
            say(f"{DELETE_UNREACHABLE} is set and the API server does not answer: not waiting for its volumes.")
            return
        if now() - began >= seconds:
            if failure:
                raise VolumesLeftError(unreachable_message(failure, on_site=on_site))
            raise VolumesLeftError(left_on_site(left, seconds) if on_site else left_message(left, seconds))
        if reported is None or now() - reported >= _REPORT_SECONDS:
            reported = now()
            say(f"Waiting: {failure}." if failure else f"Waiting for {_listed(left)} to be deleted.")
        sleep(_POLL_SECONDS)


def left_message(left: Sequence[LeftVolume], seconds: float) -> str:
    """Which volumes are left after `seconds`, and what to do about it."""
    return (
        f"After {seconds:.0f} s there are still {_listed(left)}. The destroy would delete the CSI drivers next, and "
        "these disks would stay in EC2. Find out what uses them: `kubectl get pvc,pod --all-namespaces`, `kubectl "
        "describe pv NAME`. Delete the pods and claims, then run `pulumi destroy` again. To keep a disk: `kubectl "
        "patch pv NAME --patch "
        '\'{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}\'`.'
    )


def left_on_site(left: Sequence[LeftVolume], seconds: float) -> str:
    """The same on a cluster that exists, whose nodes may be off."""
    return (
        f"After {seconds:.0f} s there are still {_listed(left)}. Find out what uses them: `kubectl get pvc,pod "
        "--all-namespaces`, `kubectl describe pv NAME`. A volume in a folder of a node waits for that node: start it. "
        "If the node is gone for good, `kubectl delete pv NAME`. Then run `pulumi destroy` again."
    )


def unreachable_message(failure: str, *, on_site: bool = False) -> str:
    """What to do when the cluster can't be asked."""
    in_ec2 = ", and look in EC2 for volumes with the tag kubernetes.io/created-for/pvc/name"
    return (
        f"Cannot check for remaining PersistentVolumes: {failure}. Run `pulumi destroy` where it can be reached; if "
        f"the cluster is gone, set {DELETE_UNREACHABLE}=true (docs/destroy.md){'' if on_site else in_ec2}."
    )


def _listed(left: Sequence[LeftVolume]) -> str:
    return f"{len(left)} PersistentVolume{'s' if len(left) > 1 else ''}: {', '.join(map(str, left))}"

"""The gate: a destroy goes on to the CSI drivers only when the volumes that they have to delete are gone.

Deleting a claim returns at once, and its volume goes later, by the driver. A destroy that took the driver down in
between would leave the volume in EC2, where nobody looks for it.

`pulumi destroy` runs no program, so the waiting is a dynamic provider's: Pulumi keeps it in the state, by the name of
this module and class, and calls it again from there. Neither can be renamed while a stack refers to it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

TIMEOUT_SECONDS = 15 * 60
_POLL_SECONDS = 2
_SAID_EVERY_SECONDS = 30
_REQUEST_SECONDS = 20
# The kubernetes provider's switch for a cluster that was deleted by hand: what is in it counts as gone with it.
DELETE_UNREACHABLE = "PULUMI_K8S_DELETE_UNREACHABLE"
_GONE_AFTER_SECONDS = 15
_ID = "volumes"


class VolumesLeftError(Exception):
    """Volumes were left when time was up. The message names them and says what to do."""


@dataclass(frozen=True, kw_only=True)
class LeftVolume:
    """A PersistentVolume that its driver has yet to delete, and the claim that has it, as NAMESPACE/NAME."""

    name: str
    phase: str
    claim: str

    def __str__(self) -> str:
        return f"{self.name} ({self.phase}, of the claim {self.claim})"


class VolumeGateProvider(ResourceProvider):
    """Nothing but a deletion that waits."""

    # There is no secret in it: a kubeconfig of EKS says how to ask for a token.
    serialize_as_secret_always: ClassVar[bool] = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """There is nothing to make."""
        return CreateResult(_ID, _own(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """How to reach the cluster, and how long to wait, are kept up to date."""
        return DiffResult(changes=_own(_olds) != _own(_news))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Takes what is new."""
        return UpdateResult(_own(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Waits. Raises VolumesLeftError."""
        kubeconfig, seconds = json.loads(_props["kubeconfig"]), float(_props["timeout"])
        taken_for_gone = os.environ.get(DELETE_UNREACHABLE) == "true"
        wait_until_gone(
            lambda: left_volumes(persistent_volumes(kubeconfig)), seconds, unreachable_is_gone=taken_for_gone
        )


class VolumeGate(Resource, module="gpulab", name="VolumeGate"):
    """Whatever makes claims depends on it, and it depends on the drivers and on the nodes that have the volumes."""

    def __init__(
        self,
        name: str,
        kubeconfig: pulumi.Input[str],
        timeout: int = TIMEOUT_SECONDS,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`kubeconfig` is the cluster's as JSON, `timeout` the seconds that a deletion waits."""
        # The engine's own bound must not cut short what the provider has to say at the end.
        bound = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete=f"{timeout + 60}s"))
        super().__init__(
            VolumeGateProvider(),
            name,
            {"kubeconfig": kubeconfig, "timeout": timeout},
            pulumi.ResourceOptions.merge(opts, bound),
        )


def persistent_volumes(kubeconfig: dict[str, Any]) -> list[dict[str, Any]]:
    """The cluster's PersistentVolumes as their JSON. Raises what the Kubernetes client raises."""
    # The client takes a second to load and 60 MB: for the one call, not for each run of the program.
    import kubernetes  # noqa: PLC0415

    with kubernetes.config.new_client_from_config_dict(kubeconfig) as client:
        answer: Any = kubernetes.client.CoreV1Api(client).list_persistent_volume(
            _preload_content=False, _request_timeout=_REQUEST_SECONDS
        )
        return json.loads(answer.data)["items"]


def left_volumes(volumes: Iterable[dict[str, Any]]) -> list[LeftVolume]:
    """Those that go with their claim: with the policy Retain a volume stays, and nobody waits for it."""
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
    ]


def wait_until_gone(
    look: Callable[[], Sequence[LeftVolume]],
    seconds: float,
    *,
    unreachable_is_gone: bool = False,
    say: Callable[[str], None] = lambda text: print(text, flush=True),
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Returns once `look` finds no volume; says at first, and now and then, which it waits for.

    An API server that does not answer is asked again; one that never answered counts, with `unreachable_is_gone`, as
    gone after some seconds, and its volumes with it. Raises VolumesLeftError after `seconds`.
    """
    began = now()
    said: float | None = None
    answered = False
    while True:
        try:
            left, failure, answered = list(look()), None, True
        except Exception as error:  # of many kinds: the client's, the network's, the credential plugin's
            left, failure = [], f"{type(error).__name__}: {error}"
        if not left and failure is None:
            if said is not None:
                say(f"The last PersistentVolume was gone after {now() - began:.0f} s.")
            return
        if unreachable_is_gone and not answered and now() - began >= _GONE_AFTER_SECONDS:
            say(f"{DELETE_UNREACHABLE} is set and the API server does not answer: its volumes are not waited for.")
            return
        if now() - began >= seconds:
            raise VolumesLeftError(unreachable_message(failure) if failure else left_message(left, seconds))
        if said is None or now() - said >= _SAID_EVERY_SECONDS:
            said = now()
            say(
                f"Waiting for the API server ({failure})." if failure else f"Waiting for {_listed(left)} to be deleted."
            )
        sleep(_POLL_SECONDS)


def left_message(left: Sequence[LeftVolume], seconds: float) -> str:
    """What is left after so long, and what to do about it."""
    return (
        f"After {seconds:.0f} s still left: {_listed(left)}. The CSI drivers would go next, and their disks would stay "
        "in EC2. See what holds them: `kubectl get pvc,pod --all-namespaces`, `kubectl describe pv NAME`. "
        "Delete the pods and claims, then run `pulumi destroy` again. To keep a disk: `kubectl patch pv NAME --patch "
        '\'{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}\'`.'
    )


def unreachable_message(failure: str | None) -> str:
    """What to do when nobody answers."""
    return (
        f"Cannot check for remaining PersistentVolumes: the API server does not answer ({failure}). Run "
        f"`pulumi destroy` where it can be reached; if the cluster is gone, set {DELETE_UNREACHABLE}=true "
        "(docs/destroy.md), and look in EC2 for volumes with the tag kubernetes.io/created-for/pvc/name."
    )


def _listed(left: Sequence[LeftVolume]) -> str:
    return f"{len(left)} PersistentVolume{'s' if len(left) > 1 else ''}: {', '.join(map(str, left))}"


def _own(props: dict[str, Any]) -> dict[str, Any]:
    return {key: props.get(key) for key in ("kubeconfig", "timeout")}

"""TargetGroupBindings: while the AWS Load Balancer Controller is deployed, pods are registered in target groups.

As its TargetGroupBinding reconciler does (controllers/elbv2 and pkg/targetgroupbinding in v3.5): a finalizer, the
endpoints of the Service's port as targets, `status.observedGeneration`. A binding whose Service or port is missing has
no targets and an event. One that is deleted has its targets taken out and is let go; without the controller nobody
does, and it stays for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.controllers.finalizers import with_finalizer, without_finalizer
from rehearsal.controllers.load_balancers import SERVICES, controller_is_deployed
from rehearsal.controllers.object_warnings import Warnings
from rehearsal.controllers.world import Object, World, place, place_of

BINDINGS = "/apis/elbv2.k8s.aws/v1beta1/targetgroupbindings"
ENDPOINT_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
API_VERSION = "elbv2.k8s.aws/v1beta1"
FINALIZER = "elbv2.k8s.aws/resources"

Target = tuple[str, int]
"""A pod's address and port."""

_LOG = logging.getLogger("controllers.target_groups")
_SERVICE_LABEL = "kubernetes.io/service-name"


class BackendNotFoundError(Exception):
    """A binding's Service, or its port, does not exist; the message says which."""


class TargetGroups:
    """Keeps target groups in line with the bindings."""

    def __init__(self) -> None:
        self._warnings = Warnings("TargetGroupBinding", api_version=API_VERSION)

    def reconcile(self, world: World) -> None:
        """Fills the group of each binding, and lets go of bindings that are deleted."""
        bindings = world.listed(BINDINGS)
        if not bindings or not controller_is_deployed(world):
            return
        for binding in bindings:
            try:
                if "deletionTimestamp" in binding["metadata"]:
                    _let_go(world, binding)
                else:
                    self._bind(world, binding)
            except ClientError as error:
                self._warnings.report(world, binding, "FailedReconcile", str(error))

    def _bind(self, world: World, binding: Object) -> None:
        path = place_of(BINDINGS, binding)
        if FINALIZER not in (binding["metadata"].get("finalizers") or []):
            with_finalizer(world, path, FINALIZER)
        try:
            wanted = _targets(world, binding)
        except BackendNotFoundError as missing:
            self._warnings.report(world, binding, "BackendNotFound", str(missing))
            wanted = set()
        _register(world, binding["spec"]["targetGroupARN"], wanted)
        generation = binding["metadata"]["generation"]
        if binding.get("status", {}).get("observedGeneration") != generation:
            world.kubernetes.patch(f"{path}/status", {"status": {"observedGeneration": generation}})


def endpoints(slices: Iterable[Object], port_name: str | None) -> set[Target]:
    """The ready endpoints of a Service's port in its slices, where an unnamed port has the name ''."""
    return {
        (address, port["port"])
        for one in slices
        if one.get("addressType") == "IPv4"
        for port in one.get("ports") or []
        if (port.get("name") or "") == (port_name or "")
        for endpoint in one.get("endpoints") or []
        if endpoint.get("conditions", {}).get("ready", True)
        for address in endpoint["addresses"]
    }


def service_port(service: Object, wanted: int | str) -> Object:
    """The port of a Service by its number or name. Raises BackendNotFoundError."""
    for port in service["spec"].get("ports", []):
        if wanted in (port["port"], port.get("name")):
            return port
    metadata = service["metadata"]
    raise BackendNotFoundError(f"unable to find port {wanted} on service {metadata['namespace']}/{metadata['name']}")


def _targets(world: World, binding: Object) -> set[Target]:
    namespace, reference = binding["metadata"]["namespace"], binding["spec"]["serviceRef"]
    service = world.kubernetes.get(place(SERVICES, reference["name"], namespace))
    if service is None:
        raise BackendNotFoundError(f'backend not found: services "{reference["name"]}" not found')
    port = service_port(service, reference["port"])
    slices = world.kubernetes.list(ENDPOINT_SLICES, labelSelector=f"{_SERVICE_LABEL}={reference['name']}")
    mine = [one for one in slices if one["metadata"]["namespace"] == namespace]
    return endpoints(mine, port.get("name"))


def _register(world: World, group: str, wanted: set[Target]) -> None:
    """Makes `wanted` the targets of a group."""
    elb = world.aws.client("elbv2")
    health = elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    registered = {(one["Target"]["Id"], int(one["Target"]["Port"])) for one in health}
    if gone := registered - wanted:
        elb.deregister_targets(TargetGroupArn=group, Targets=_as_list(gone))
    if new := wanted - registered:
        elb.register_targets(TargetGroupArn=group, Targets=_as_list(new))
        _LOG.info("registered %s in %s", sorted(new), group.rpartition(":")[2])


def _let_go(world: World, binding: Object) -> None:
    if FINALIZER not in (binding["metadata"].get("finalizers") or []):
        return
    try:
        _register(world, binding["spec"]["targetGroupARN"], set())
    except ClientError as error:
        if "NotFound" not in error.response["Error"]["Code"]:  # a group that is gone has no targets
            raise
    without_finalizer(world, place_of(BINDINGS, binding), FINALIZER)
    _LOG.info("let go of %s", binding["metadata"]["name"])


def _as_list(targets: Iterable[Target]) -> list[dict[str, Any]]:
    return [{"Id": address, "Port": port} for address, port in sorted(targets)]

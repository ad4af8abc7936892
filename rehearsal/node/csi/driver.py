"""What a CSI driver answers to kubelet: it registers, and publishes each volume as a folder of the rig.

`python -m rehearsal.node.csi` serves it. Nothing is staged: a folder needs no step of its own before a pod's mount.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from . import messages
from .folders import Folder, folder_of

_LOG = logging.getLogger("csi")
_WORKERS = 4


class Mounts(Protocol):
    """How folders of volumes get to where pods find them. Each raises MountFailed."""

    def make(self, folder: str) -> None:
        """Makes the folder of a volume, unless it is there."""
        ...

    def has(self, folder: str) -> bool:
        """Whether there is the folder of a volume."""
        ...

    def bind(self, folder: str, target: str, *, read_only: bool) -> None:
        """Mounts the folder of a volume at `target`, unless something is mounted there."""
        ...

    def unbind(self, target: str) -> None:
        """Takes it away again, unless it is gone."""
        ...


class MountFailed(RuntimeError):
    """A mount failed. The message has what the machine's mount said."""


@dataclass(frozen=True)
class Driver:
    """The answers of a driver on a node. `endpoint` is its socket as kubelet sees it."""

    name: str
    node: str
    endpoint: str
    mounts: Mounts

    def get_info(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        """What kubelet asks at each new socket of a plugin."""
        return messages.PluginInfo(
            type="CSIPlugin", name=self.name, endpoint=self.endpoint, supported_versions=["1.0.0"]
        )

    def notify_registration_status(self, request: Any, _context: grpc.ServicerContext) -> Any:
        """What became of it: kubelet tries again by itself."""
        _LOG.info("%s: %s", self.name, "registered" if request.plugin_registered else request.error)
        return messages.Empty()

    def get_plugin_info(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        """Its name."""
        return messages.GetPluginInfoResponse(name=self.name, vendor_version="rehearsal")

    def nothing_else(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        """It has no capability beyond mounting, and is ready."""
        return messages.Empty()

    def node_get_info(self, _request: Any, _context: grpc.ServicerContext) -> Any:
        """The node's name among those that attach volumes."""
        return messages.NodeGetInfoResponse(node_id=self.node)

    def publish(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Mounts a volume where a pod's containers get it."""
        folder = self._folder(request, context)
        if folder.made_by_mount:
            self.mounts.make(folder.name)
        if not self.mounts.has(folder.name):
            context.abort(grpc.StatusCode.NOT_FOUND, f"{self.name} has no folder {folder.name}")
        try:
            self.mounts.bind(folder.name, request.target_path, read_only=request.readonly)
        except MountFailed as error:
            context.abort(grpc.StatusCode.INTERNAL, str(error))
        _LOG.info("%s: published %s", self.name, request.volume_id)
        return messages.Empty()

    def unpublish(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Takes a pod's mount away. The volume keeps what is in it."""
        try:
            self.mounts.unbind(request.target_path)
        except MountFailed as error:
            context.abort(grpc.StatusCode.INTERNAL, str(error))
        _LOG.info("%s: unpublished %s", self.name, request.volume_id)
        return messages.Empty()

    def _folder(self, request: Any, context: grpc.ServicerContext) -> Folder:
        try:
            return folder_of(self.name, request.volume_id, request.volume_context)
        except ValueError as error:
            return context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def serve(driver: Driver, address: str) -> grpc.Server:
    """Serves a driver at an address of gRPC, such as unix:/…; it ends with the process."""
    server = grpc.server(ThreadPoolExecutor(_WORKERS))
    server.add_generic_rpc_handlers(_handlers(driver))
    server.add_insecure_port(address)
    server.start()
    return server


def _handlers(driver: Driver) -> Sequence[grpc.GenericRpcHandler]:
    empty = messages.Empty
    services: dict[str, dict[str, tuple[Callable[[Any, grpc.ServicerContext], Any], Any]]] = {
        "pluginregistration.Registration": {
            "GetInfo": (driver.get_info, empty),
            "NotifyRegistrationStatus": (driver.notify_registration_status, messages.RegistrationStatus),
        },
        "csi.v1.Identity": {
            "GetPluginInfo": (driver.get_plugin_info, empty),
            "GetPluginCapabilities": (driver.nothing_else, empty),
            "Probe": (driver.nothing_else, empty),
        },
        "csi.v1.Node": {
            "NodeGetInfo": (driver.node_get_info, empty),
            "NodeGetCapabilities": (driver.nothing_else, empty),
            "NodePublishVolume": (driver.publish, messages.NodePublishVolumeRequest),
            "NodeUnpublishVolume": (driver.unpublish, messages.NodeUnpublishVolumeRequest),
        },
    }
    return [
        grpc.method_handlers_generic_handler(
            service,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    answer, request_deserializer=request.FromString, response_serializer=_serialized
                )
                for name, (answer, request) in methods.items()
            },
        )
        for service, methods in services.items()
    ]


def _serialized(message: Any) -> bytes:
    return message.SerializeToString()

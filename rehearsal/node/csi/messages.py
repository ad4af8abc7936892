"""The messages between kubelet and a CSI driver, as far as they matter here; what else a message has is not looked at.

Fields and numbers are those of csi.proto (container-storage-interface/spec v1.9.0) and of kubelet's
pkg/apis/pluginregistration/v1/api.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TEXT, _BOOL = descriptor_pb2.FieldDescriptorProto.TYPE_STRING, descriptor_pb2.FieldDescriptorProto.TYPE_BOOL
# The names of fields with their numbers and types, by message.
_FIELDS: Mapping[str, Mapping[str, tuple[int, descriptor_pb2.FieldDescriptorProto.Type.ValueType]]] = {
    "Empty": {},
    "PluginInfo": {"type": (1, _TEXT), "name": (2, _TEXT), "endpoint": (3, _TEXT), "supported_versions": (4, _TEXT)},
    "RegistrationStatus": {"plugin_registered": (1, _BOOL), "error": (2, _TEXT)},
    "GetPluginInfoResponse": {"name": (1, _TEXT), "vendor_version": (2, _TEXT)},
    "NodeGetInfoResponse": {"node_id": (1, _TEXT)},
    "NodePublishVolumeRequest": {"volume_id": (1, _TEXT), "target_path": (4, _TEXT), "readonly": (6, _BOOL)},
    "NodeUnpublishVolumeRequest": {"volume_id": (1, _TEXT), "target_path": (2, _TEXT)},
}
_REPEATED = ("supported_versions",)
# A map is a repeated message with a key and a value.
_CONTEXT, _CONTEXT_NUMBER = "volume_context", 8


def _classes() -> Mapping[str, Any]:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="gpulab/csi.proto", package="gpulab.csi", syntax="proto3")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            label = field.LABEL_REPEATED if name in _REPEATED else field.LABEL_OPTIONAL
            described.field.add(name=name, number=number, type=kind, label=label)
        if message == "NodePublishVolumeRequest":
            entry = described.nested_type.add(name="VolumeContextEntry")
            entry.options.map_entry = True
            for number, name in enumerate(("key", "value"), 1):
                entry.field.add(name=name, number=number, type=_TEXT, label=field.LABEL_OPTIONAL)
            described.field.add(
                name=_CONTEXT,
                number=_CONTEXT_NUMBER,
                type=field.TYPE_MESSAGE,
                type_name=f".{file.package}.{message}.{entry.name}",
                label=field.LABEL_REPEATED,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles([file.name], pool)


_MADE = {name.rpartition(".")[2]: made for name, made in _classes().items()}

Empty: Any = _MADE["Empty"]
PluginInfo: Any = _MADE["PluginInfo"]
RegistrationStatus: Any = _MADE["RegistrationStatus"]
GetPluginInfoResponse: Any = _MADE["GetPluginInfoResponse"]
NodeGetInfoResponse: Any = _MADE["NodeGetInfoResponse"]
NodePublishVolumeRequest: Any = _MADE["NodePublishVolumeRequest"]
NodeUnpublishVolumeRequest: Any = _MADE["NodeUnpublishVolumeRequest"]

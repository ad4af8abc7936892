"""What upstream accepts, as data: typed, cached loaders of the JSON files in this folder (see README.md).

Every loader reads its file once per process. The result is shared, so callers must not change it.
"""

from __future__ import annotations

from contracts.ec2 import (
    InstanceType,
    MigGpu,
    MigProfile,
    NodeImages,
    instance_types,
    mig_gpu,
    mig_gpus,
    node_images,
    release_number,
)
from contracts.helm import Chart, chart, chart_name, crd, crds
from contracts.images import image, image_digest, image_digests, image_pins
from contracts.permissions import IamResources, iam_policy, iam_resource_types, published_statements
from contracts.services import (
    RdsClasses,
    ServicePrices,
    aws_terraform,
    nat_image,
    rds_classes,
    service_prices,
    zones_without_control_plane,
)

__all__ = [
    "Chart",
    "IamResources",
    "InstanceType",
    "MigGpu",
    "MigProfile",
    "NodeImages",
    "RdsClasses",
    "ServicePrices",
    "aws_terraform",
    "chart",
    "chart_name",
    "crd",
    "crds",
    "iam_policy",
    "iam_resource_types",
    "image",
    "image_digest",
    "image_digests",
    "image_pins",
    "instance_types",
    "mig_gpu",
    "mig_gpus",
    "nat_image",
    "node_images",
    "published_statements",
    "rds_classes",
    "release_number",
    "service_prices",
    "zones_without_control_plane",
]

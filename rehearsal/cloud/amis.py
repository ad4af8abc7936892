"""Amazon's machine images: EKS's, as AMIs in moto's EC2 and the SSM parameters that name them, and a plain one.

The parameters' names: https://docs.aws.amazon.com/eks/latest/userguide/retrieve-ami-id.html.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.responses import EC2Response
from moto.ssm import models

import contracts
from contracts import eks
from rehearsal.cloud.versions import DEFAULT_VERSION, versions

# Who publishes the images, in us-east-1 and most other regions.
_AMAZON_EKS = "602401143452"
_BOTTLEROCKET = "092701018921"
_AMAZON_LINUX = "137112412989"
# The release of Bottlerocket that managed node groups get. EC2NodeClasses name theirs.
_BOTTLEROCKET_RELEASE = "1.44.0-5e1bb4a3"


@dataclass(frozen=True)
class Image:
    """An image of one variant for one Kubernetes version; `parameter` is the SSM path above its values."""

    parameter: str
    name: str
    architecture: str
    release: str
    """What a managed node group shows."""
    bottlerocket: bool = False

    @property
    def id(self) -> str:
        """An id that stays the same from run to run."""
        return _id(self.name)


# Managed node groups' AMI types, by variant: (SSM path under the version, architecture).
_AL2023 = {
    "AL2023_x86_64_STANDARD": ("x86_64/standard", "x86_64"),
    "AL2023_ARM_64_STANDARD": ("arm64/standard", "arm64"),
    "AL2023_x86_64_NVIDIA": ("x86_64/nvidia", "x86_64"),
    "AL2023_ARM_64_NVIDIA": ("arm64/nvidia", "arm64"),
    "AL2023_x86_64_NEURON": ("x86_64/neuron", "x86_64"),
}
_BOTTLEROCKETS = {
    "BOTTLEROCKET_x86_64": ("", "x86_64"),
    "BOTTLEROCKET_ARM_64": ("", "arm64"),
    "BOTTLEROCKET_x86_64_NVIDIA": ("-nvidia", "x86_64"),
    "BOTTLEROCKET_ARM_64_NVIDIA": ("-nvidia", "arm64"),
}
# The parameters of pinned releases, of which Karpenter asks for that of an EC2NodeClass's alias.
_PINNED_AL2023 = re.compile(
    r"/aws/service/eks/optimized-ami/(?P<version>[0-9.]+)/amazon-linux-2023/(?P<part>(?P<architecture>x86_64|arm64)/\w+)"
    r"/amazon-eks-node-al2023-\w+-\w+-[0-9.]+-v(?P<release>[0-9]{8})/image_id"
)
_PINNED_BOTTLEROCKET = re.compile(
    r"/aws/service/bottlerocket/aws-k8s-(?P<version>[0-9.]+)(?P<part>(-nvidia)?)/(?P<architecture>x86_64|arm64)"
    r"/(?P<release>[0-9]+\.[0-9]+\.[0-9]+)/image_id"
)
# AMI types that EKS's API takes and this rehearsal has no image for: FIPS, Windows, and Amazon Linux 2, which ended
# with Kubernetes 1.32.
AMI_TYPES = (*_AL2023, *_BOTTLEROCKETS, "CUSTOM")


def image(ami_type: str, version: str, release: str | None = None) -> Image:
    """A release of the image of `ami_type` (`AL2023_x86_64_STANDARD`) for a Kubernetes version; the recommended one."""
    if ami_type in _AL2023:
        release = release or eks.node_releases(version)[0]
        path, architecture = _AL2023[ami_type]
        variant = path.rpartition("/")[2]
        return Image(
            parameter=f"/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/{path}/recommended",
            name=f"amazon-eks-node-al2023-{architecture}-{variant}-{version}-v{_day(release)}",
            architecture=architecture,
            release=release,
        )
    release = release or _BOTTLEROCKET_RELEASE
    suffix, architecture = _BOTTLEROCKETS[ami_type]
    return Image(
        parameter=f"/aws/service/bottlerocket/aws-k8s-{version}{suffix}/{architecture}/latest",
        name=f"bottlerocket-aws-k8s-{version}{suffix}-{architecture}-v{release}",
        architecture=architecture,
        release=release,
        bottlerocket=True,
    )


def is_release(ami_type: str, version: str, release: str) -> bool:
    """Whether there is such a release of an image for a Kubernetes version.

    AWS publishes one every week or two, so one that is newer than those known here is believed, if its day has come.
    """
    if ami_type not in _AL2023:
        return release == _BOTTLEROCKET_RELEASE
    known = eks.node_releases(version)
    today = datetime.datetime.now(datetime.UTC)
    is_newer = re.fullmatch(rf"{re.escape(version)}\.[0-9]+-20[0-9]{{6}}", release) is not None and (
        _day(known[0]) < _day(release) <= f"{today:%Y%m%d}"
    )
    return release in known or is_newer


def pinned(parameter: str) -> Image | None:
    """The image of a release that an SSM parameter names, as those of an alias do; None where there is no such one."""
    for ami_types, pattern in ((_AL2023, _PINNED_AL2023), (_BOTTLEROCKETS, _PINNED_BOTTLEROCKET)):
        found = pattern.fullmatch(parameter)
        for ami_type, (part, architecture) in ami_types.items() if found else ():
            if found and (part, architecture) == (found["part"], found["architecture"]):
                return _released(ami_type, found["version"], found["release"])
    return None


def _released(ami_type: str, version: str, release: str) -> Image | None:
    of_bottlerocket = ami_type in _BOTTLEROCKETS
    alias = f"{'bottlerocket' if of_bottlerocket else 'al2023'}@v{release}"
    is_to_come = not of_bottlerocket and release > f"{datetime.datetime.now(datetime.UTC):%Y%m%d}"
    if version not in versions() or is_to_come or not contracts.node_images().is_for(alias, version):
        return None
    return image(ami_type, version, release if of_bottlerocket else f"{version}.0-{release}")


def alias(name: str) -> str:
    """The alias, such as `al2023@v20260917`, of the release that an image's name says."""
    family = "bottlerocket" if name.startswith("bottlerocket-") else "al2023"
    return f"{family}@v{name.rpartition('-v')[2].partition('-')[0]}"


def _day(release: str) -> str:
    return release.rpartition("-")[2]


def architecture_of(ami_type: str) -> str:
    """x86_64 or arm64."""
    return image(ami_type, DEFAULT_VERSION).architecture


def register(account_id: str, region: str, made: Image) -> str:
    """Makes sure that EC2 knows the image, and gives its id."""
    owner = _BOTTLEROCKET if made.bottlerocket else _AMAZON_EKS
    return _publish(account_id, region, made.name, made.architecture, owner)


def _publish(account_id: str, region: str, name: str, architecture: str, owner: str) -> str:
    ec2, id = ec2_backends[account_id][region], _id(name)
    if id not in ec2.amis:
        ami: Any = Ami(
            ec2,
            id,
            name=name,
            owner_id=owner,
            owner_alias="amazon",
            public=True,
            virtualization_type="hvm",
            architecture=architecture,
            root_device_name="/dev/xvda",
            root_device_type="ebs",
            hypervisor="xen",
            image_location=f"amazon/{name}",
        )
        ec2.amis[id] = ami
    return id


def _id(name: str) -> str:
    return f"ami-0{hashlib.sha256(name.encode()).hexdigest()[:16]}"


class AmazonLinux(EC2Response):
    """moto's listing of images, with the release of Amazon Linux that NAT instances are started from."""

    def describe_images(self) -> Any:
        """Those that are asked for."""
        _publish(self.current_account, self.region, contracts.nat_image(), "arm64", _AMAZON_LINUX)
        return super().describe_images()


class ParameterDict(models.ParameterDict):
    """moto's SSM parameters, with EKS's public ones, made when first asked for."""

    _eks_images_loaded = False

    def _check_loading_status(self, key: str) -> None:
        super()._check_loading_status(key)
        wanted = str(key or "").startswith(("/aws/service/eks", "/aws/service/bottlerocket"))
        if wanted and not self._eks_images_loaded:
            self._eks_images_loaded = True
            for name, value in self._eks_parameters():
                self[name].append(self._parameter(name, value))
        if wanted and key not in self.keys() and (made := pinned(key)):
            self[key] = [self._parameter(key, register(self.account_id, self.region_name, made))]

    def _eks_parameters(self) -> Iterator[tuple[str, str]]:
        for version in versions():
            for ami_type in (*_AL2023, *_BOTTLEROCKETS):
                made = image(ami_type, version)
                id = register(self.account_id, self.region_name, made)
                yield f"{made.parameter}/image_id", id
                if made.bottlerocket:
                    yield f"{made.parameter}/image_version", made.release
                    continue
                yield f"{made.parameter}/release_version", made.release
                yield f"{made.parameter}/image_name", made.name
                yield (
                    made.parameter,
                    json.dumps(
                        {
                            "schema_version": "2.0",
                            "image_id": id,
                            "image_name": made.name,
                            "release_version": made.release,
                        }
                    ),
                )

    def _parameter(self, name: str, value: str) -> Any:
        return models.Parameter(
            account_id=self.account_id,
            name=name,
            value=value,
            parameter_type="String",
            description=None,
            allowed_pattern=None,
            keyid=None,
            last_modified_date=utcnow(),
            version=1,
            data_type="text",
        )


def install() -> None:
    """Gives moto's SSM these parameters: it makes its stores when first used."""
    models.ParameterDict = ParameterDict  # type: ignore[misc]

"""A NAT instance: a small instance in place of a NAT gateway, at a fifth of its price and without a fee per GB.

It runs Amazon Linux 2023, which AWS patches, with the kernel's own address translation. AWS's NAT image ended in 2023
("NAT instances", VPC user guide), and images of others add little more than nftables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

import contracts

INSTANCE_TYPE = "t4g.micro"
# GiB; the minimal image has 2.
VOLUME_SIZE = 4
ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, kw_only=True)
class NatInstanceArgs:
    """Where the instance runs and which networks it serves.

    `subnet_id` is a public subnet, `vpc_cidrs` are the VPC's IPv4 ranges, the primary one first. `volume_tags` are for
    its volume, which the provider's default tags do not reach.
    """

    vpc_id: pulumi.Input[str]
    vpc_cidrs: Sequence[str]
    subnet_id: pulumi.Input[str]
    volume_tags: Mapping[str, str] = field(default_factory=dict)


class NatInstance(pulumi.ComponentResource):
    """The instance with its own public address. A route to its network interface leads out of the VPC.

    It has no role and admits only the VPC. EC2 moves it to another host when its own fails (simplified automatic
    recovery). A newer image makes a new instance; routes and address follow within a minute or two.
    """

    network_interface_id: pulumi.Output[str]
    public_address: pulumi.Output[str]

    def __init__(self, name: str, args: NatInstanceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:NatInstance", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            name,
            description="NAT instance: what the VPC sends out",
            vpc_id=args.vpc_id,
            tags={"Name": name},
            opts=child,
        )
        rules: list[pulumi.Resource] = [
            *(
                aws.vpc.SecurityGroupIngressRule(
                    f"{name}-{cidr.replace('/', '-')}" if index else name,
                    security_group_id=group.id,
                    description="Everything from the VPC, on its way out",
                    ip_protocol="-1",
                    cidr_ipv4=cidr,
                    opts=child,
                )
                for index, cidr in enumerate(args.vpc_cidrs)
            ),
            aws.vpc.SecurityGroupEgressRule(
                name,
                security_group_id=group.id,
                description="Everything, on its way out",
                ip_protocol="-1",
                cidr_ipv4=ANYWHERE,
                opts=child,
            ),
        ]
        image = aws.ec2.get_ami_output(
            owners=["amazon"],
            filters=[{"name": "name", "values": [contracts.nat_image()]}],
            # AWS marks an image as deprecated 90 days after its release, but it stays available.
            include_deprecated=True,
            opts=pulumi.InvokeOptions(parent=self),
        )
        instance = aws.ec2.Instance(
            name,
            ami=image.id,
            instance_type=INSTANCE_TYPE,
            subnet_id=args.subnet_id,
            vpc_security_group_ids=[group.id],
            # Otherwise EC2 drops packets that are neither from the instance nor for it.
            source_dest_check=False,
            user_data=nat_user_data(args.vpc_cidrs),
            user_data_replace_on_change=True,
            metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
            maintenance_options={"auto_recovery": "default"},
            root_block_device={"volume_type": "gp3", "volume_size": VOLUME_SIZE, "encrypted": True},
            tags={"Name": name},
            volume_tags={**args.volume_tags, "Name": name},
            opts=pulumi.ResourceOptions(parent=self, depends_on=rules),
        )
        address = aws.ec2.Eip(name, domain="vpc", instance=instance.id, tags={"Name": name}, opts=child)
        self.network_interface_id = instance.primary_network_interface_id
        self.public_address = address.public_ip
        self.register_outputs(
            {"network_interface_id": self.network_interface_id, "public_address": self.public_address}
        )


def nat_user_data(vpc_cidrs: Sequence[str]) -> str:
    """The script of the first boot: it makes the instance forward packets from `vpc_cidrs` under its own address.

    A restart finds everything in place. The package's version is that of the image's release. The instance gets its
    public address after its start, so the first attempts to install may fail.
    """
    vpc = vpc_cidrs[0] if len(vpc_cidrs) == 1 else f"{{ {', '.join(vpc_cidrs)} }}"
    return "\n".join(
        (
            "#!/bin/bash",
            "set -eu",
            "until dnf install -y nftables; do sleep 5; done",
            "echo 'net.ipv4.ip_forward = 1' > /etc/sysctl.d/90-nat.conf",
            "echo 'net.ipv4.conf.all.send_redirects = 0' >> /etc/sysctl.d/90-nat.conf",
            "sysctl --load /etc/sysctl.d/90-nat.conf",
            "cat > /etc/sysconfig/nftables.conf <<'RULES'",
            "table ip nat {",
            "  chain postrouting {",
            "    type nat hook postrouting priority srcnat; policy accept;",
            f"    ip saddr {vpc} ip daddr != {vpc} masquerade",
            "  }",
            "}",
            "RULES",
            "systemctl enable --now nftables",
            "",
        )
    )

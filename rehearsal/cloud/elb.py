"""What moto's Elastic Load Balancing lacks: refusals, and a load balancer's network interfaces.

An application load balancer has a network interface in each of its subnets, which keeps subnets and security groups
from being deleted; it writes a test object into the bucket of its access logs. Codes and messages are ELB's:
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Operations.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from moto.acm.models import acm_backends
from moto.elb import urls
from moto.elbv2.exceptions import ELBClientError
from moto.elbv2.models import FakeLoadBalancer, FakeTargetGroup
from moto.elbv2.responses import ELBV2Response
from moto.elbv2.ssl_policies import SSL_POLICIES

from rehearsal.cloud import elb_rules
from rehearsal.cloud.elb_access_logs import write_test_object
from rehearsal.cloud.one_change_at_a_time import OneChangeAtATime

APPLICATION = "application"

_INTERFACE = "ELB app"
# Attribute -> minimum and maximum in seconds.
_SECONDS = {"idle_timeout.timeout_seconds": (1, 4000), "client_keep_alive.seconds": (60, 604800)}
# Parameter of a target group -> minimum and maximum.
_HEALTH_CHECKS = {
    "HealthCheckIntervalSeconds": (5, 300),
    "HealthCheckTimeoutSeconds": (2, 120),
    "HealthyThresholdCount": (2, 10),
    "UnhealthyThresholdCount": (2, 10),
}
# Default attributes of an application load balancer that moto lacks.
_ATTRIBUTES = {
    "access_logs.s3.enabled": "false",
    "client_keep_alive.seconds": "3600",
    "idle_timeout.timeout_seconds": "60",
    "load_balancing.cross_zone.enabled": "true",
    "routing.http.desync_mitigation_mode": "defensive",
    "routing.http.drop_invalid_header_fields.enabled": "false",
    "routing.http.preserve_host_header.enabled": "false",
    "routing.http2.enabled": "true",
    "waf.fail_open.enabled": "false",
}


def _refused(code: str, message: str) -> ELBClientError:
    return ELBClientError(code, message)


def _invalid(message: str) -> ELBClientError:
    return _refused("ValidationError", message)


class Response(OneChangeAtATime, ELBV2Response):
    """moto's ELB; it checks changes first, one request at a time."""

    @property
    def _parameters(self) -> dict[str, Any]:
        return self._get_params()

    # Load balancers.

    def create_load_balancer(self) -> Any:
        """Refuses a name that is in use, subnets that don't fit together, and groups of another VPC."""
        if self._parameters.get("Type", APPLICATION) != APPLICATION:
            return super().create_load_balancer()
        name = self._parameters["Name"]
        if any(balancer.name == name for balancer in self.elbv2_backend.load_balancers.values()):
            raise _refused("DuplicateLoadBalancerName", "A load balancer with the same name already exists")
        if name.startswith("internal-"):
            raise _invalid(f"The load balancer name '{name}' cannot begin with 'internal-'")
        vpc = self._check_subnets(self._subnet_ids())
        if self._parameters.get("Scheme", "internet-facing") == "internet-facing":
            gateways = self.elbv2_backend.ec2_backend.internet_gateways.values()
            if not any(gateway.vpc and gateway.vpc.id == vpc for gateway in gateways):
                raise _refused("InvalidSubnet", f"VPC {vpc} has no internet gateway")
        self._check_groups(self._parameters.get("SecurityGroups", []), vpc)
        answer = super().create_load_balancer()
        balancer = self._balancer(name)
        balancer.attrs.update(_ATTRIBUTES)
        if balancer.scheme == "internal":
            balancer.dns_name = f"internal-{balancer.dns_name}"
        self._attach(balancer, [subnet.id for subnet in balancer.subnets])
        return answer

    def delete_load_balancer(self) -> Any:
        """Refuses a protected load balancer. Deletes its network interfaces, and releases its target groups."""
        balancer = self.elbv2_backend.load_balancers.get(self._parameters["LoadBalancerArn"])
        if balancer is not None and balancer.attrs.get("deletion_protection.enabled") == "true":
            raise _refused(
                "OperationNotPermitted",
                f"Load balancer '{balancer.arn}' cannot be deleted because deletion protection is enabled",
            )
        answer = super().delete_load_balancer()
        if balancer is not None:
            self._detach(balancer)
            for group in self.elbv2_backend.target_groups.values():
                group.load_balancer_arns = [arn for arn in group.load_balancer_arns if arn != balancer.arn]
        return answer

    def set_subnets(self) -> Any:
        """Refuses subnets that don't fit together. Moves the network interfaces."""
        self._check_subnets(self._subnet_ids())
        answer = super().set_subnets()
        balancer = self.elbv2_backend.load_balancers[self._parameters["LoadBalancerArn"]]
        if balancer.type == APPLICATION:
            self._detach(balancer)
            self._attach(balancer, [subnet.id for subnet in balancer.subnets])
        return answer

    def set_security_groups(self) -> Any:
        """Refuses groups of another VPC. Makes new network interfaces."""
        balancer = self.elbv2_backend.load_balancers[self._parameters["LoadBalancerArn"]]
        self._check_groups(self._parameters.get("SecurityGroups", []), balancer.vpc_id)
        answer = super().set_security_groups()
        self._detach(balancer)
        self._attach(balancer, [subnet.id for subnet in balancer.subnets])
        return answer

    def modify_load_balancer_attributes(self) -> Any:
        """Refuses times that are out of range, and a bucket into which ELB may not write."""
        given = {attribute["Key"]: attribute["Value"] for attribute in self._parameters.get("Attributes", [])}
        for key, (least, greatest) in _SECONDS.items():
            if key in given and not least <= int(given[key]) <= greatest:
                raise _invalid(f"'{key}' value '{given[key]}' must be between '{least}-{greatest}' inclusive")
        balancer = self.elbv2_backend.load_balancers.get(self._parameters["LoadBalancerArn"])
        now = {**(balancer.attrs if balancer else {}), **given}
        if now.get("access_logs.s3.enabled") == "true":
            bucket, prefix = now.get("access_logs.s3.bucket", ""), now.get("access_logs.s3.prefix", "")
            write_test_object(self.current_account, self.elbv2_backend.partition, bucket, prefix)
        return super().modify_load_balancer_attributes()

    # Listeners, rules and target groups.

    def create_listener(self) -> Any:
        """Refuses a port that is in use, HTTPS without an issued certificate, and an unknown TLS policy."""
        balancer = self.elbv2_backend.load_balancers.get(self._parameters["LoadBalancerArn"])
        port = self._parameters.get("Port")
        if balancer and any(str(listener.port) == str(port) for listener in balancer.listeners.values()):
            raise _refused("DuplicateListener", "A listener already exists on this port for this load balancer")
        self._check_certificate(self._parameters.get("Protocol"))
        self._check_target_groups(balancer.arn if balancer else "", self._parameters.get("DefaultActions", []))
        return super().create_listener()

    def modify_listener(self) -> Any:
        """Refuses the same of a change."""
        if self._parameters.get("Certificates"):
            self._check_certificate("HTTPS")
        return super().modify_listener()

    def create_rule(self) -> Any:
        """Refuses too many conditions or rules, and target groups of another load balancer."""
        balancer_arn = _balancer_of(self._parameters["ListenerArn"])
        elb_rules.check(self._parameters.get("Conditions", []), self._parameters.get("Actions", []))
        if balancer := self.elbv2_backend.load_balancers.get(balancer_arn):
            elb_rules.check_count(balancer.listeners.values())
        self._check_target_groups(balancer_arn, self._parameters["Actions"])
        return super().create_rule()

    def modify_rule(self) -> Any:
        """Refuses the same of a change."""
        elb_rules.check(self._parameters.get("Conditions", []), self._parameters.get("Actions", []))
        self._check_target_groups(_balancer_of(self._parameters["RuleArn"]), self._parameters.get("Actions", []))
        return super().modify_rule()

    def create_target_group(self) -> Any:
        """Refuses health checks that are out of range."""
        self._check_health_check(self._parameters)
        return super().create_target_group()

    def modify_target_group(self) -> Any:
        """Checks a change together with the group's other values."""
        group = self.elbv2_backend.target_groups.get(self._parameters["TargetGroupArn"])
        self._check_health_check({**_health_check_of(group), **self._parameters} if group else self._parameters)
        return super().modify_target_group()

    # Details.

    def _subnet_ids(self) -> list[str]:
        mapped = [mapping["SubnetId"] for mapping in self._parameters.get("SubnetMappings", [])]
        return [*self._parameters.get("Subnets", []), *mapped]

    def _check_subnets(self, ids: list[str]) -> str:
        """Checks the subnets of a load balancer, and returns their VPC."""
        ec2 = self.elbv2_backend.ec2_backend
        known = {subnet.id: subnet for zone in ec2.subnets.values() for subnet in zone.values()}
        for id in ids:
            if id not in known:
                raise _refused("SubnetNotFound", f"The subnet ID '{id}' does not exist")
        zones = [known[id].availability_zone for id in ids]
        if len(set(zones)) < len(zones):
            raise _refused(
                "InvalidConfigurationRequest",
                "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
            )
        if len(zones) < 2:
            raise _invalid("At least two subnets in two different Availability Zones must be specified")
        vpcs = {known[id].vpc_id for id in ids}
        if len(vpcs) > 1:
            raise _refused("InvalidConfigurationRequest", "All subnets must belong to the same VPC")
        return vpcs.pop()

    def _check_groups(self, ids: Iterable[str], vpc: str) -> None:
        for id in ids:
            group = self.elbv2_backend.ec2_backend.get_security_group_from_id(id)
            if group is None:
                raise _refused("InvalidSecurityGroup", f"Security group '{id}' does not exist")
            if group.vpc_id != vpc:
                raise _refused(
                    "InvalidConfigurationRequest",
                    f"One or more security groups are invalid: {id} does not belong to VPC {vpc}",
                )

    def _balancer(self, name: str) -> FakeLoadBalancer:
        return next(balancer for balancer in self.elbv2_backend.load_balancers.values() if balancer.name == name)

    def _attach(self, balancer: FakeLoadBalancer, subnets: Iterable[str]) -> None:
        ec2 = self.elbv2_backend.ec2_backend
        groups = [ec2.get_security_group_from_id(id) for id in balancer.security_groups or []]
        for subnet in subnets:
            interface = ec2.create_network_interface(ec2.get_subnet(subnet), [])
            interface.description, interface.status = _interface_of(balancer), "in-use"
            interface._group_set = [group for group in groups if group]

    def _detach(self, balancer: FakeLoadBalancer) -> None:
        ec2 = self.elbv2_backend.ec2_backend
        for interface in [
            interface for interface in ec2.enis.values() if interface.description == _interface_of(balancer)
        ]:
            ec2.delete_network_interface(interface.id)

    def _check_certificate(self, protocol: str | None) -> None:
        policy = self._parameters.get("SslPolicy")
        if policy is not None and policy not in SSL_POLICIES:
            raise _refused("SSLPolicyNotFound", f"SSL policy '{policy}' not found")
        certificates = [certificate["CertificateArn"] for certificate in self._parameters.get("Certificates", [])]
        if protocol != "HTTPS":
            if certificates:
                raise _invalid("A certificate can only be specified for HTTPS and TLS listeners")
            return
        if not certificates:
            raise _refused("CertificateNotFound", "A certificate must be specified for HTTPS listeners")
        stored = acm_backends[self.current_account][self.region]._certificates
        for arn in certificates:
            if ":acm:" in arn and arn not in stored:
                raise _refused("CertificateNotFound", f"Certificate ARN '{arn}' not found")
            if arn in stored and stored[arn].status != "ISSUED":
                raise _refused(
                    "UnsupportedCertificate",
                    f"The certificate '{arn}' must have a fully-qualified domain name, a supported signature, and a "
                    "supported key size.",
                )

    def _check_target_groups(self, balancer_arn: str, actions: list[dict[str, Any]]) -> None:
        balancer = self.elbv2_backend.load_balancers.get(balancer_arn)
        for arn in self._forwarded(actions):
            group = self.elbv2_backend.target_groups.get(arn)
            if group is None or balancer is None:
                continue  # moto reports it
            if group.vpc_id != balancer.vpc_id:
                raise _refused(
                    "InvalidConfigurationRequest",
                    f"The target group with targetGroupArn '{arn}' and the load balancer belong to different VPCs",
                )
            if set(group.load_balancer_arns) - {balancer_arn}:
                raise _refused(
                    "TargetGroupAssociationLimit",
                    f"The following target groups cannot be associated with more than one load balancer: {arn}",
                )

    def _forwarded(self, actions: list[dict[str, Any]]) -> Iterator[str]:
        for action in actions:
            yield from self.elbv2_backend._get_target_group_arns_from(action)

    @staticmethod
    def _check_health_check(given: dict[str, Any]) -> None:
        for parameter, (least, greatest) in _HEALTH_CHECKS.items():
            value = given.get(parameter)
            if value is not None and not least <= int(value) <= greatest:
                what = parameter.removesuffix("Seconds").removesuffix("Count")
                words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in what).strip()
                raise _invalid(f"{words.capitalize()} '{value}' must be between '{least}' and '{greatest}'")
        interval, timeout = given.get("HealthCheckIntervalSeconds"), given.get("HealthCheckTimeoutSeconds")
        if interval is not None and timeout is not None and int(timeout) >= int(interval):
            raise _invalid(f"Health check timeout '{timeout}' must be smaller than the interval '{interval}'")
        path = given.get("HealthCheckPath")
        if path is not None and not path.startswith("/"):
            raise _invalid(f"Health check path '{path}' must begin with a '/' character")


def _balancer_of(arn: str) -> str:
    """The load balancer's ARN from the ARN of a listener or of a rule (`…:listener-rule/app/NAME/ID/LISTENER/RULE`)."""
    head, _, rest = arn.partition(":listener")
    return f"{head}:loadbalancer/{'/'.join(rest.split('/')[1:4])}"


def _interface_of(balancer: FakeLoadBalancer) -> str:
    """The description of a load balancer's network interfaces."""
    return f"{_INTERFACE}/{balancer.name}/{balancer.arn.rpartition('/')[2]}"


def _health_check_of(group: FakeTargetGroup) -> dict[str, Any]:
    return {
        "HealthCheckIntervalSeconds": group.health_check_interval_seconds,
        "HealthCheckTimeoutSeconds": group.health_check_timeout_seconds,
    }


def install() -> None:
    """Replaces moto's operations with these. Classic load balancers, at the same address, stay moto's."""
    urls.ELBV2Response = Response  # type: ignore[misc]

"""The certificate of the platform's domain and of all names one level below it, validated through Route 53."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

VALIDATION_TTL = 300
# The zone is known to be delegated, so ACM sees the record within minutes. AWS's own patience is 75 minutes.
VALIDATION_TIMEOUT = "20m"


@dataclass(frozen=True, kw_only=True)
class CertificateArgs:
    """`zone_id` is the public hosted zone that holds `domain`."""

    domain: str
    zone_id: pulumi.Input[str]


class Certificate(pulumi.ComponentResource):
    """An issued certificate for `domain` and `*.domain`: who uses `certificate_arn` has waited for it to be issued."""

    certificate_arn: pulumi.Output[str]

    def __init__(self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Certificate", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        certificate = aws.acm.Certificate(
            name,
            domain_name=args.domain,
            subject_alternative_names=[f"*.{args.domain}"],
            validation_method="DNS",
            tags={"Name": name},
            opts=child,
        )
        # ACM asks for the same record for a domain and its wildcard: a second one would be refused.
        shared = certificate.domain_validation_options[0]
        record = aws.route53.Record(
            f"{name}-validation",
            zone_id=args.zone_id,
            name=shared.resource_record_name.apply(lambda name: name or ""),
            type=shared.resource_record_type.apply(lambda kind: kind or ""),
            records=[shared.resource_record_value.apply(lambda value: value or "")],
            ttl=VALIDATION_TTL,
            opts=child,
        )
        validation = aws.acm.CertificateValidation(
            name,
            certificate_arn=certificate.arn,
            validation_record_fqdns=[record.fqdn],
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create=VALIDATION_TIMEOUT)),
        )

        self.certificate_arn = validation.certificate_arn
        self.register_outputs({"certificate_arn": self.certificate_arn})

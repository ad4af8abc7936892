"""The certificate of the platform's domain and of all names one level below it, validated through Route 53."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

VALIDATION_TTL = 300
# The zone is known to be delegated, so ACM sees the record within minutes. The provider's default is 75 minutes.
VALIDATION_TIMEOUT = "20m"


@dataclass(frozen=True, kw_only=True)
class CertificateArgs:
    """`zone_id` is the public hosted zone that holds `domain`; `wildcards` are more names for it, such as `*.a.DOMAIN`.

    A wildcard stands for one label: `*.DOMAIN`, which is always included, does not cover names of `*.a.DOMAIN`.
    """

    domain: str
    zone_id: pulumi.Input[str]
    wildcards: Sequence[str] = ()


class Certificate(pulumi.ComponentResource):
    """An issued certificate for `domain`, `*.domain` and the wildcards.

    What uses `certificate_arn` waits until the certificate is issued. Other names make a new certificate, which is in
    use before the old one is deleted.
    """

    certificate_arn: pulumi.Output[str]

    def __init__(self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Certificate", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        certificate = aws.acm.Certificate(
            name,
            domain_name=args.domain,
            subject_alternative_names=[f"*.{args.domain}", *args.wildcards],
            validation_method="DNS",
            tags={"Name": name},
            opts=child,
        )
        # ACM wants the same record for a domain and its wildcard; Route 53 would refuse a second one.
        validated = {f"{name}-validation": args.domain}
        validated |= {f"{name}-validation-{wildcard.removeprefix('*.')}": wildcard for wildcard in args.wildcards}
        records = []
        for record_name, validated_name in validated.items():
            option = validation_option(certificate, validated_name)
            records.append(
                aws.route53.Record(
                    record_name,
                    zone_id=args.zone_id,
                    name=option.resource_record_name.apply(lambda name: name or ""),
                    type=option.resource_record_type.apply(lambda kind: kind or ""),
                    records=[option.resource_record_value.apply(lambda value: value or "")],
                    ttl=VALIDATION_TTL,
                    opts=child,
                )
            )
        validation = aws.acm.CertificateValidation(
            name,
            certificate_arn=certificate.arn,
            validation_record_fqdns=[record.fqdn for record in records],
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create=VALIDATION_TIMEOUT)),
        )

        self.certificate_arn = validation.certificate_arn
        self.register_outputs({"certificate_arn": self.certificate_arn})


def validation_option(
    certificate: aws.acm.Certificate, name: str
) -> pulumi.Output[aws.acm.outputs.CertificateDomainValidationOption]:
    """The record that ACM wants to validate one of a certificate's names. ACM lists them in any order."""
    return certificate.domain_validation_options.apply(
        lambda options: next(option for option in options if option.domain_name == name)
    )

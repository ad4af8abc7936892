"""AWS Certificate Manager."""

from __future__ import annotations

from reports.account import Account, Held
from reports.aws_type import AwsType, ByTags
from reports.aws_type.listing import listing, tags_by_call
from reports.aws_type.pricing import free
from reports.aws_type.steps import Gone, Steps


def _remove_certificate(_account: Account, held: Held) -> Steps:
    named = ["--certificate-arn", held.id]
    if held.raw.get("InUse"):  # by a load balancer that is deleted before it
        yield Gone(["aws", "acm", "describe-certificate", *named], "Certificate.InUseBy")
    yield ["aws", "acm", "delete-certificate", *named]


TYPES = (
    AwsType(
        type="aws:acm/",
        bill=free("https://aws.amazon.com/certificate-manager/pricing/: public certificates of integrated services"),
    ),
    AwsType(
        type="aws:acm/certificate:Certificate",
        listing=listing(
            "acm",
            "list_certificates",
            "CertificateSummaryList",
            "CertificateArn",
            tags_by_call("list_tags_for_certificate", "Tags", CertificateArn="id"),
            "ListTagsForCertificate",
            name_key="DomainName",
        ),
        remove=_remove_certificate,
        after=("elb LoadBalancerDescriptions", "elbv2 LoadBalancers"),
        lookup=ByTags(input="domainName", key="DomainName"),
    ),
    AwsType(type="aws:acm/certificateValidation:CertificateValidation", if_made_again="accepted"),
)

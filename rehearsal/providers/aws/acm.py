"""ACM: certificates that are validated through DNS, and the wait for their being issued."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from rehearsal.providers.aws.base import AwsResource, known
from rehearsal.providers.aws.cloud import Cloud, tag_list, tag_map
from rehearsal.providers.serving import Properties, Refused, Request, contains_unknown

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"(\*\.)?({_LABEL}\.)+{_LABEL}")
_LONGEST_FIRST_NAME, _LONGEST_NAME = 64, 253
_MOST_NAMES = 10
_PAUSE_SECONDS = 0.2
# What takes ACM minutes takes no time here, so a record that is not there will not come either.
_PATIENCE_SECONDS = 10.0


class Certificate(AwsResource):
    """A certificate of Amazon's, validated through DNS."""

    token = "aws:acm/certificate:Certificate"
    force_new = frozenset({"domainName", "subjectAlternativeNames", "validationMethod", "keyAlgorithm"})
    defaults = {"validationMethod": "DNS", "keyAlgorithm": "RSA_2048"}
    choices = {"validationMethod": ("DNS",), "keyAlgorithm": ("RSA_2048",)}
    longest_name = None
    unmodelled = frozenset(
        {
            "certificateAuthorityArn", "certificateBody", "certificateChain", "earlyRenewalDuration", "options",
            "privateKey", "privateKeyWo", "privateKeyWoVersion", "validationOptions",
        }
    )  # fmt: skip

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        domain, others = known(inputs.get("domainName")), inputs.get("subjectAlternativeNames") or []
        if "domainName" not in inputs:
            yield Refused("domainName is needed", "domainName")
        if domain is not None and len(domain) > _LONGEST_FIRST_NAME:
            yield Refused(f"domainName has {len(domain)} characters, {_LONGEST_FIRST_NAME} are possible", "domainName")
        if contains_unknown(others):
            return
        for name in [*([domain] if domain else []), *others]:
            if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
                yield Refused(
                    f"{name} is no domain name", "domainName" if name == domain else "subjectAlternativeNames"
                )
        if len({domain, *others}) > _MOST_NAMES:
            yield Refused(f"a certificate has {_MOST_NAMES} names at most", "subjectAlternativeNames")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        names = inputs.get("subjectAlternativeNames")
        made = cloud.client("acm").request_certificate(
            DomainName=inputs["domainName"],
            ValidationMethod=inputs["validationMethod"],
            **({"SubjectAlternativeNames": names} if names else {}),
            **({"Tags": tag_list(inputs["tagsAll"])} if inputs.get("tagsAll") else {}),
        )
        return made["CertificateArn"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        acm = cloud.client("acm")
        found = acm.describe_certificate(CertificateArn=id)["Certificate"]
        options = [
            {
                "domainName": one["DomainName"],
                "resourceRecordName": one["ResourceRecord"]["Name"],
                "resourceRecordType": one["ResourceRecord"]["Type"],
                "resourceRecordValue": one["ResourceRecord"]["Value"],
            }
            for one in sorted(found["DomainValidationOptions"], key=lambda one: one["DomainName"])
        ]
        named = olds.get("subjectAlternativeNames") or []
        others = [name for name in found["SubjectAlternativeNames"] if name != found["DomainName"] or name in named]
        return {
            "arn": id,
            "domainName": found["DomainName"],
            "domainValidationOptions": options,
            "keyAlgorithm": found["KeyAlgorithm"],
            "notAfter": found["NotAfter"].isoformat(),
            "notBefore": found["NotBefore"].isoformat(),
            "pendingRenewal": False,
            "renewalEligibility": "INELIGIBLE",
            "renewalSummaries": [],
            # Of a certificate that waits the real provider says so too, until somebody refreshes it.
            "status": olds.get("status") or found["Status"],
            "subjectAlternativeNames": sorted(others),
            "tags": tag_map(acm.list_tags_for_certificate(CertificateArn=id)["Tags"]),
            "type": found["Type"],
            "validationEmails": [],
            "validationMethod": "DNS",
        }

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        acm = cloud.client("acm")
        if put:
            acm.add_tags_to_certificate(CertificateArn=id, Tags=tag_list(put))
        if drop:
            acm.remove_tags_from_certificate(CertificateArn=id, Tags=[{"Key": key} for key in drop])

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("acm").delete_certificate(CertificateArn=id)


class CertificateValidation(AwsResource):
    """No thing of AWS's: making it waits until a certificate is issued."""

    token = "aws:acm/certificateValidation:CertificateValidation"
    force_new = frozenset({"certificateArn", "validationRecordFqdns"})
    longest_name = None

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        arn = inputs["certificateArn"]
        acm = cloud.client("acm")
        wanted = acm.describe_certificate(CertificateArn=arn)["Certificate"]["DomainValidationOptions"]
        if "validationRecordFqdns" in inputs:
            missing = {one["ResourceRecord"]["Name"].rstrip(".") for one in wanted} - {
                name.rstrip(".") for name in inputs["validationRecordFqdns"]
            }
            if missing:
                raise Refused(f"missing {', '.join(sorted(missing))} in validationRecordFqdns", "validationRecordFqdns")
        record = wanted[0]["ResourceRecord"]["Name"]
        deadline = time.monotonic() + min(request.timeout or _PATIENCE_SECONDS, _PATIENCE_SECONDS)
        while (status := acm.describe_certificate(CertificateArn=arn)["Certificate"]["Status"]) != "ISSUED":
            if time.monotonic() > deadline:
                raise Refused(
                    f"waiting for ACM Certificate ({arn}) to be issued: timeout while waiting for state to become "
                    f"'ISSUED' (last state: '{status}'): public DNS has not the record {record}"
                )
            time.sleep(_PAUSE_SECONDS)
        return arn

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        arn = olds.get("certificateArn") or id
        found = cloud.client("acm").describe_certificate(CertificateArn=arn)["Certificate"]
        return {"certificateArn": arn} if found["Status"] == "ISSUED" else None

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        """Nothing to delete: the certificate is another resource's."""

"""ACM: certificates that are validated through DNS, and the wait until ACM issues them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.base import AwsResource
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, Request, contains_unknown

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"(\*\.)?({_LABEL}\.)+{_LABEL}")
_LONGEST_FIRST_NAME, _LONGEST_NAME = 64, 253
_MOST_NAMES = 10
_OPTIONS = (
    "sort_by(DomainValidationOptions, &DomainName)[].{domainName: DomainName, resourceRecordName: ResourceRecord.Name,"
    " resourceRecordType: ResourceRecord.Type, resourceRecordValue: ResourceRecord.Value}"
)
_PAUSE_SECONDS = 0.2
# ACM takes minutes, the simulated one no time: a record that is missing now will not appear later.
_PATIENCE_SECONDS = 10.0


class Certificate(DescribedResource):
    """A certificate that Amazon issues, validated through DNS."""

    token = "aws:acm/certificate:Certificate"
    force_new = frozenset({"domainName", "subjectAlternativeNames", "validationMethod", "keyAlgorithm"})
    required = ("domainName",)
    defaults = {"validationMethod": "DNS", "keyAlgorithm": "RSA_2048"}
    choices = {"validationMethod": ("DNS",), "keyAlgorithm": ("RSA_2048",)}
    unmodelled = frozenset(
        {
            "certificateAuthorityArn", "certificateBody", "certificateChain", "earlyRenewalDuration", "options",
            "privateKey", "privateKeyWo", "privateKeyWoVersion", "validationOptions",
        }
    )  # fmt: skip
    service, made_id = "acm", "CertificateArn"
    create_call = Call("request_certificate", "domainName validationMethod subjectAlternativeNames tags")
    read_call, found = Call("describe_certificate", CertificateArn="{id}"), "Certificate"
    outputs = fields(
        "domainName keyAlgorithm notAfter notBefore type",
        domainValidationOptions=_OPTIONS,
        pendingRenewal="`false`",
        renewalEligibility="'INELIGIBLE'",
        renewalSummaries="`[]`",
        validationEmails="`[]`",
        validationMethod="'DNS'",
    )
    read_tags_call = Call("list_tags_for_certificate", CertificateArn="{id}")
    delete_call = Call("delete_certificate", CertificateArn="{id}")
    tag_call = Call("add_tags_to_certificate", CertificateArn="{id}", Tags="{tags}")
    untag_call = Call("remove_tags_from_certificate", CertificateArn="{id}", Tags="{tagKeys}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        domain, others = known(inputs.get("domainName")), inputs.get("subjectAlternativeNames") or []
        if domain is not None and len(domain) > _LONGEST_FIRST_NAME:
            yield Refused(f"domainName has {len(domain)} characters; it can have {_LONGEST_FIRST_NAME}", "domainName")
        if contains_unknown(others):
            return
        for name in [*([domain] if domain else []), *others]:
            if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
                yield Refused(
                    f"{name} is not a domain name", "domainName" if name == domain else "subjectAlternativeNames"
                )
        if len({domain, *others}) > _MOST_NAMES:
            yield Refused(f"a certificate can have at most {_MOST_NAMES} names", "subjectAlternativeNames")

    def given(self, inputs: Properties) -> Properties:
        return {**super().given(inputs), "subjectAlternativeNames": inputs.get("subjectAlternativeNames") or None}

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        named = known.get("subjectAlternativeNames") or []
        others = [name for name in found["SubjectAlternativeNames"] if name != found["DomainName"] or name in named]
        return {
            "arn": known["id"],
            # The real provider also keeps the status of a pending certificate until a refresh.
            "status": known.get("status") or found["Status"],
            "subjectAlternativeNames": sorted(others),
        }


class CertificateValidation(AwsResource):
    """Not an object of AWS: its creation waits until a certificate is issued."""

    token = "aws:acm/certificateValidation:CertificateValidation"
    force_new = frozenset({"certificateArn", "validationRecordFqdns"})
    longest_name = None

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        arn = inputs["certificateArn"]
        acm = cloud.client("acm")
        wanted = acm.describe_certificate(CertificateArn=arn)["Certificate"]["DomainValidationOptions"]
        if "validationRecordFqdns" in inputs:
            missing = {option["ResourceRecord"]["Name"].rstrip(".") for option in wanted} - {
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
                    f"'ISSUED' (last state: '{status}'): public DNS does not have the record {record}"
                )
            time.sleep(_PAUSE_SECONDS)
        return arn

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        arn = olds.get("certificateArn") or id
        found = cloud.client("acm").describe_certificate(CertificateArn=arn)["Certificate"]
        return {"certificateArn": arn} if found["Status"] == "ISSUED" else None

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        """Deletes nothing: the certificate belongs to another resource."""

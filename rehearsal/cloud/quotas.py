"""Service quotas of a lab's account: running vCPUs by class of instance, next to moto's VPC quotas.

Codes: https://docs.aws.amazon.com/general/latest/gr/ec2-service.html. The values are those of an account that has asked
for GPUs; a new one has 0 for them. `GPULAB_QUOTAS` (JSON, code -> vCPUs) has others.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from moto.servicequotas import urls
from moto.servicequotas.exceptions import NoSuchResource
from moto.servicequotas.models import ServiceQuotasBackend
from moto.servicequotas.responses import ServiceQuotasResponse

import contracts
from rehearsal.cloud.capacity import ON_DEMAND, QUOTA_CODES, SPOT

# Quota code -> (name, vCPUs granted, vCPUs of a new account).
_EC2_QUOTAS: dict[str, tuple[str, float, float]] = {
    "L-1216C47A": ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 640.0, 5.0),
    "L-DB2E81BA": ("Running On-Demand G and VT instances", 1536.0, 0.0),
    "L-417A185B": ("Running On-Demand P instances", 1536.0, 0.0),
    "L-34B43A08": ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 640.0, 5.0),
    "L-3819A6DF": ("All G and VT Spot Instance Requests", 1536.0, 0.0),
    "L-7212CCBC": ("All P4, P3 and P2 Spot Instance Requests", 1536.0, 0.0),
    "L-C4BD4855": ("All P5 Spot Instance Requests", 1536.0, 0.0),
}
# The families that each of them counts, by how an instance is paid for.
_COUNTED = {
    ON_DEMAND: {"L-1216C47A": r"[acdhimrtz]", "L-DB2E81BA": r"g|gr|vt", "L-417A185B": r"p"},
    SPOT: {"L-34B43A08": r"[acdhimrtz]", "L-3819A6DF": r"g|gr|vt", "L-7212CCBC": r"p[234]", "L-C4BD4855": r"p5"},
}


class Response(ServiceQuotasResponse):
    """moto's Service Quotas with EC2's vCPU quotas, and with those that apply beside the defaults."""

    def list_service_quotas(self) -> str:
        return json.dumps({"Quotas": self._quotas(granted=True)})

    def list_aws_default_service_quotas(self) -> str:
        return json.dumps({"Quotas": self._quotas(granted=False)})

    def get_service_quota(self) -> str:
        return json.dumps({"Quota": self._quota(granted=True)})

    def get_aws_default_service_quota(self) -> str:
        return json.dumps({"Quota": self._quota(granted=False)})

    def _quotas(self, *, granted: bool) -> list[dict[str, Any]]:
        service = json.loads(self.body)["ServiceCode"]
        if service != "ec2":
            return ServiceQuotasBackend(self.region, self.current_account).list_aws_default_service_quotas(service)
        prefix = f"arn:aws:servicequotas:{self.region}:{self.current_account}:ec2"
        return [
            {
                "ServiceCode": "ec2",
                "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
                "QuotaArn": f"{prefix}/{code}",
                "QuotaCode": code,
                "QuotaName": name,
                "Value": _granted(code) if granted else default,
                "Unit": "None",
                "Adjustable": True,
                "GlobalQuota": False,
            }
            for code, (name, _, default) in _EC2_QUOTAS.items()
        ]

    def _quota(self, *, granted: bool) -> dict[str, Any]:
        code = json.loads(self.body)["QuotaCode"]
        for quota in self._quotas(granted=granted):
            if quota["QuotaCode"] == code:
                return quota
        raise NoSuchResource


def _granted(code: str) -> float:
    return json.loads(os.environ.get("GPULAB_QUOTAS", "{}")).get(code, _EC2_QUOTAS[code][1])


def shortage(ec2: Any, lifecycle: str, instance_type: str, count: int) -> tuple[str, str] | None:
    """EC2's code and message for a launch that exceeds the quota of running vCPUs; None where it does not."""
    code = _quota_of(lifecycle, instance_type)
    if code is None:
        return None
    running = sum(
        _vcpus(one.instance_type)
        for one in ec2.all_running_instances()
        if _quota_of(SPOT if one.lifecycle == "spot" else ON_DEMAND, one.instance_type) == code
    )
    if running + count * _vcpus(instance_type) <= _granted(code):
        return None
    if lifecycle == SPOT:
        return QUOTA_CODES[SPOT], "Max spot instance count exceeded"
    message = f"You have requested more vCPU capacity than your current vCPU limit of {_granted(code):.0f} allows"
    return QUOTA_CODES[ON_DEMAND], f"{message} for the instance bucket that the specified instance type belongs to."


def _quota_of(lifecycle: str, instance_type: str) -> str | None:
    known = contracts.instance_types().get(instance_type)
    if known is None:
        return None
    for code, families in _COUNTED[lifecycle].items():
        if re.fullmatch(families, known.category) or re.fullmatch(families, f"{known.category}{known.generation}"):
            return code
    return None


def _vcpus(instance_type: str) -> int:
    known = contracts.instance_types().get(instance_type)
    return known.vcpu if known else 0


def install() -> None:
    """Puts these operations in the place of moto's."""
    urls.url_paths = {"{0}/$": Response.dispatch}

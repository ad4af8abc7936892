"""Service quotas of a lab's account: running vCPUs by class of instance, next to moto's VPC quotas.

Codes: https://docs.aws.amazon.com/general/latest/gr/ec2-service.html. The values are those of an account that has asked
for GPUs; a new one has 0 for them. `GPULAB_QUOTAS` (JSON, code -> vCPUs) has others.
"""

from __future__ import annotations

import json
import os
from typing import Any

from moto.servicequotas import urls
from moto.servicequotas.exceptions import NoSuchResource
from moto.servicequotas.models import ServiceQuotasBackend
from moto.servicequotas.responses import ServiceQuotasResponse

# Quota code -> (name, vCPUs granted, vCPUs of a new account).
_EC2_QUOTAS: dict[str, tuple[str, float, float]] = {
    "L-1216C47A": ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 640.0, 5.0),
    "L-DB2E81BA": ("Running On-Demand G and VT instances", 192.0, 0.0),
    "L-417A185B": ("Running On-Demand P instances", 384.0, 0.0),
    "L-34B43A08": ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 640.0, 5.0),
    "L-3819A6DF": ("All G and VT Spot Instance Requests", 192.0, 0.0),
    "L-7212CCBC": ("All P4, P3 and P2 Spot Instance Requests", 384.0, 0.0),
    "L-C4BD4855": ("All P5 Spot Instance Requests", 384.0, 0.0),
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
        others = json.loads(os.environ.get("GPULAB_QUOTAS", "{}"))
        prefix = f"arn:aws:servicequotas:{self.region}:{self.current_account}:ec2"
        return [
            {
                "ServiceCode": "ec2",
                "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
                "QuotaArn": f"{prefix}/{code}",
                "QuotaCode": code,
                "QuotaName": name,
                "Value": others.get(code, value) if granted else default,
                "Unit": "None",
                "Adjustable": True,
                "GlobalQuota": False,
            }
            for code, (name, value, default) in _EC2_QUOTAS.items()
        ]

    def _quota(self, *, granted: bool) -> dict[str, Any]:
        code = json.loads(self.body)["QuotaCode"]
        for quota in self._quotas(granted=granted):
            if quota["QuotaCode"] == code:
                return quota
        raise NoSuchResource


def install() -> None:
    """Puts these operations in the place of moto's."""
    urls.url_paths = {"{0}/$": Response.dispatch}

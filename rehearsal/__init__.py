"""Rehearses a stack without a cloud account: real Pulumi engine, real Kubernetes control plane, simulated AWS."""

import sys

# If jsonschema finds this package, it builds a grammar of formats that no chart's schema uses. That takes two seconds
# in each process that imports it, and every engine command starts such a provider twice.
sys.modules.setdefault("rfc3987_syntax", None)  # pyright: ignore[reportArgumentType, reportCallIssue]

"""What EKS's service and its provider both know: names that it takes. Loads nothing of moto."""

from __future__ import annotations

# By Amazon EKS's calendar, https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html: one older than a
# stack file may ask for, to upgrade from, and one newer.
VERSIONS = ("1.31", "1.32", "1.33", "1.34", "1.35")
DEFAULT_VERSION = "1.34"
TAINT_EFFECTS = ("NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE")

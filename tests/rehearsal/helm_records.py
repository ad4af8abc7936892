"""Records of Helm releases that were never installed, for code that only reads them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

from rehearsal.controllers.world import Object


def record(chart: str, values: Mapping[str, Any], namespace: str = "kube-system") -> Object:
    """The Secret that Helm stores for a deployed release of `chart`, which has the chart's name."""
    release = {
        "name": chart,
        "namespace": namespace,
        "version": 1,
        "info": {"status": "deployed"},
        "chart": {"metadata": {"name": chart, "version": "1.0.0"}},
        "config": values,
        "manifest": "",
    }
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
    labels = {"owner": "helm", "name": chart, "status": "deployed", "version": "1"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "helm.sh/release.v1",
        "metadata": {"name": f"sh.helm.release.v1.{chart}.v1", "namespace": namespace, "labels": labels},
        "data": {"release": base64.b64encode(packed).decode()},
    }

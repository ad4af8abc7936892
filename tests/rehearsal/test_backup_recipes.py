"""The recipe of docs/backup.md that restores a database: its lines make a Cluster that CloudNativePG takes.

No operator runs in a rehearsal; the recipe for homes is followed in test_storage_live.py.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema

import contracts
from components.ground.system_nodes import SYSTEM_NODES
from components.identity.keycloak import NAMESPACE
from components.storage.cluster_database import API_VERSION, backup_spec, cluster_of, cluster_spec
from settings.people.identity import DATABASE
from tests.rehearsal.recipes import recipes

CLUSTER = cluster_of(DATABASE)
MOMENT = "2026-11-30 08:15:00+00"
# Says what there is, and keeps what is to be applied.
KUBECTL = """#!/bin/sh
case "$*" in
  *" get "*) cat "$HERE/cluster.json" ;;
  *apply*) cat > "$HERE/applied.json" ;;
esac
"""


def test_a_database_is_made_beside_the_first_from_its_bucket(tmp_path: Path) -> None:
    spec = cluster_spec(database=DATABASE, instances=3, storage=30, secret="owner", placement=SYSTEM_NODES)
    spec |= backup_spec("backups", "us-east-1", 35)
    spec["backup"]["barmanObjectStore"]["destinationPath"] = "s3://backups"  # known only to a program that runs
    cluster = {"apiVersion": API_VERSION, "kind": "Cluster", "metadata": {"name": CLUSTER, "namespace": NAMESPACE}}
    (tmp_path / "cluster.json").write_text(json.dumps({**cluster, "spec": spec}), encoding="utf-8")
    restored = follow(tmp_path, recipes()["database-from-the-bucket"])

    assert restored["metadata"] == {"name": f"{CLUSTER}-restored", "namespace": NAMESPACE}
    version = next(v for v in contracts.crd("clusters.postgresql.cnpg.io")["spec"]["versions"] if v["name"] == "v1")
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    jsonschema.Draft202012Validator(schema).validate(restored["spec"])
    assert restored["spec"].keys() <= schema["properties"].keys()
    # It reads where the first one writes, by the account that may, and writes there nothing itself.
    (source,) = restored["spec"]["externalClusters"]
    assert source["barmanObjectStore"] == {**spec["backup"]["barmanObjectStore"], "serverName": CLUSTER}
    assert restored["spec"]["serviceAccountName"] == CLUSTER
    assert "backup" not in restored["spec"]
    # A single server under a budget would keep its node from being drained.
    assert (restored["spec"]["instances"], restored["spec"]["enablePDB"]) == (1, False)
    recovery = restored["spec"]["bootstrap"]["recovery"]
    assert recovery["source"] == source["name"]
    assert recovery["recoveryTarget"] == {"targetTime": MOMENT}
    assert recovery["owner"] == spec["bootstrap"]["initdb"]["owner"]


def follow(folder: Path, lines: list[str]) -> Any:
    """What the lines apply to a cluster."""
    (folder / "kubectl").write_text(KUBECTL, encoding="utf-8")
    (folder / "kubectl").chmod(0o755)
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HERE": str(folder), "TIME": MOMENT}
    subprocess.run(["bash", "-e", "-o", "pipefail", "-c", "\n".join(lines)], env=environment, check=True)
    return json.loads((folder / "applied.json").read_text(encoding="utf-8"))

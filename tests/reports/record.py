"""Records the stored previews again from a rehearsal of dev: `python -m tests.reports.record`, about two minutes.

They are the engine's output, reduced to what the reports read.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from rehearsal.machine.workspace import PROJECT
from rehearsal.phases import Options, Rehearsal
from rehearsal.run import staged

STORED = Path(__file__).parent / "previews"
STREAMING = {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"}
_WHOLE = (
    "aws:eks/",
    "aws:ec2/eip",
    "aws:ec2/nat",
    "aws:ec2/vpcEnd",
    "aws:kms/key",
    "aws:rds/instance",
    "aws:ec2/launch",
)
_WHOLE_KINDS = ("NodePool", "NodeOverlay")
_TELLING = ("addonName", "chart", "cidrBlock", "metadata", "version")
_PLACE = ("name", "namespace")
_FIELDS = ("type", "urn", "custom", "id", "parent", "retainOnDelete")


def main() -> None:
    """A create, a change with replaces, a destroy, and a preview that a mistake in the stack file ends."""
    with staged(Options(stack_file=PROJECT / "Pulumi.dev.yaml", stack="dev"), Console(stderr=True)) as rehearsal:
        pack = f"--policy-pack={rehearsal.workspace.policy_pack}"
        _store("create", _run(rehearsal, "preview", "--json", pack, **STREAMING))
        rehearsal.up()
        # As if the file system had been made before it was encrypted: there is no setting for that any more.
        _change_state(rehearsal, "aws:efs/fileSystem:FileSystem", "encrypted", False)
        file = rehearsal.workspace.stack_file
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        config = document["config"]
        config["gpulab:network"]["cidr"] = "10.48.0.0/16"
        config["gpulab:nodePools"]["gpu"]["limits"]["gpus"] = 32
        config["gpulab:cluster"]["systemNodes"] = {"count": 3}
        config["gpulab:storage"]["backup"] = {"enabled": False}
        _write(file, document)
        _store("change", _run(rehearsal, "preview", "--json", pack, **STREAMING))
        (STORED / "change-document.json").write_text(
            json.dumps(_cut_document(json.loads(_run(rehearsal, "preview", "--json", pack))), indent=1) + "\n",
            encoding="utf-8",
        )
        _store("destroy", _run(rehearsal, "destroy", "--preview-only", "--json", **STREAMING))
        del config["gpulab:owner"]
        _write(file, document)
        _store("failed", _run(rehearsal, "preview", "--json", pack, **STREAMING))


def _run(rehearsal: Rehearsal, *command: str, given: str | None = None, **environment: str) -> str:
    done = subprocess.run(
        ["pulumi", *command, f"--stack={rehearsal.workspace.stack}", "--non-interactive", "--color=never"],
        cwd=rehearsal.workspace.folder,
        env={**rehearsal.workspace.environment, **environment},
        input=given or "",
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    return done.stdout


def _write(file: Path, document: Any) -> None:
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _change_state(rehearsal: Rehearsal, type_: str, key: str, value: Any) -> None:
    state = json.loads(_run(rehearsal, "stack", "export"))
    for resource in state["deployment"]["resources"]:
        if resource["type"] == type_:
            resource["inputs"][key] = resource["outputs"][key] = value
    _run(rehearsal, "stack", "import", given=json.dumps(state))


def _store(name: str, text: str) -> None:
    events = [cut for line in text.splitlines() if (cut := _cut(json.loads(line)))]
    lines = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events)
    (STORED / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def _cut(event: dict[str, Any]) -> dict[str, Any] | None:
    """An event with only what reports read; None if no report reads it."""
    frame = {"sequence": event["sequence"], "timestamp": 0}
    if begun := event.get("resourcePreEvent"):
        raw = begun["metadata"]
        kept = {key: raw[key] for key in ("op", "urn", "type", "keys", "diffs", "detailedDiff") if raw.get(key)}
        sides = {side: _cut_state(raw[side], raw) for side in ("old", "new") if raw.get(side)}
        return {**frame, "resourcePreEvent": {"metadata": {**kept, **sides}}}
    if diagnostic := event.get("diagnosticEvent"):
        return None if diagnostic["severity"] == "debug" else _anonymous({**frame, "diagnosticEvent": diagnostic})
    for kind in ("policyLoadEvent", "policyEvent", "summaryEvent", "cancelEvent", "preludeEvent"):
        if kind in event:
            content = {"config": {"aws:region": "us-east-1"}} if kind == "preludeEvent" else event[kind]
            return _anonymous({**frame, kind: content})
    return None


def _anonymous(event: dict[str, Any]) -> dict[str, Any]:
    """Without the folders of the machine that it was recorded on."""
    event.get("summaryEvent", {}).pop("PolicyPacks", None)
    text = json.dumps(event).replace(str(PROJECT), "/gpulab").replace(str(Path.home()), "~")
    return json.loads(text)


def _cut_document(document: dict[str, Any]) -> dict[str, Any]:
    steps = []
    for raw in document["steps"]:
        kept = {key: raw[key] for key in ("op", "urn", "diffReasons", "replaceReasons", "detailedDiff") if raw.get(key)}
        sides = {side: _cut_state(raw[side], raw) for side in ("oldState", "newState") if raw.get(side)}
        steps.append({**kept, **sides})
    return {"config": {"aws:region": "us-east-1"}, "steps": steps, "changeSummary": document["changeSummary"]}


def _cut_state(state: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    inputs = {key: value for key, value in (state.get("inputs") or {}).items() if key != "tagsAll"}
    whole = state["type"].startswith(_WHOLE) or state["type"].rpartition(":")[2] in _WHOLE_KINDS
    if not whole:
        differing = {path.partition(".")[0].partition("[")[0] for path in raw.get("detailedDiff") or ()}
        inputs = {key: value for key, value in inputs.items() if key in differing or key in _TELLING}
        if "metadata" in inputs:
            inputs["metadata"] = {key: inputs["metadata"][key] for key in _PLACE if key in inputs["metadata"]}
        if claim := ((state.get("inputs") or {}).get("spec") or {}).get("claimRef"):
            inputs["spec"] = {**inputs.get("spec", {}), "claimRef": claim}
    inputs.pop("tagSpecifications", None)
    return {**{key: state[key] for key in _FIELDS if state.get(key)}, "inputs": inputs}


if __name__ == "__main__":
    main()

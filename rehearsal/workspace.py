"""The rehearsal's own copy of a project, and the closed environment in which the engine and its plugins run.

Nothing of the user's reaches them: the home folder, Pulumi's home and state, the AWS configuration and the Kubernetes
configuration are the rehearsal's, and of the user's environment only what `KEPT_VARIABLES` names is passed on.
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from .chart_paths import at_hand
from .providers.kubernetes.archives import DOWNLOADS, FOLDERS
from .providers.kubernetes.deleting import LONGEST as LONGEST_DELETION
from .toolchain import Toolchain, cache_folder

PROJECT = Path(__file__).resolve().parent.parent
STAND_INS = ("aws", "eks", "kubernetes", "random")
POLICY_PACK = PROJECT / "policies"
UNLOCK_CONFIG = POLICY_PACK / "unlock.json"
# No language's: the language host that can be built here starts the program in place of a pack.
_PACK_RUNTIME = "rehearsal"

# The access key of the rehearsal: only the simulated AWS knows it. Calls signed by any other are the user's own.
ACCESS_KEY = "AKIAREHEARSAL0000000"
SECRET_KEY = "rehearsal"  # noqa: S105 - it opens nothing

# Read by components/delegation.py, which this process does not load.
DNS_SERVER = "GPULAB_DNS_SERVER"
# What hangs for hours on AWS, as a pool without a Karpenter, is to be seen in a rehearsal: it need not hang as long.
_LONGEST_DELETION_SECONDS = 240
KEPT_VARIABLES = ("LANG", "LC_ALL", "LC_CTYPE", "TERM", "TMPDIR", "TZ", "GPULAB_DEBUG")
# What the program is made of; the project file and the stack file are rewritten.
_PROGRAM = ("__main__.py", "settings", "components", "contracts")


@dataclass(frozen=True)
class Workspace:
    """A project folder that the engine can run, and the environment to run it in."""

    folder: Path
    stack: str
    environment: Mapping[str, str]
    policy_pack: Path
    """The folder of the policy pack, as the engine is given it."""
    stand_ins: tuple[str, ...]
    users_environment: Mapping[str, str]
    """The same with the `aws` CLI that a user would run, where there is one: `has_real_aws`."""
    has_real_aws: bool

    @property
    def stack_file(self) -> Path:
        """The rehearsal's copy of the stack file."""
        return self.folder / f"Pulumi.{self.stack}.yaml"

    def change_config(self, key: str, **values: Any) -> None:
        """Sets `values` in the section `key` (such as `gpulab:lifecycle`) of the copied stack file."""
        document = _nodes(self.stack_file)
        section = _section(_section(document, "config"), key)
        changed = yaml.compose(yaml.safe_dump(values), Loader=yaml.BaseLoader)
        section.value = [pair for pair in section.value if pair[0].value not in values] + changed.value
        _write_nodes(self.stack_file, document)


def make(
    folder: Path,
    stack_file: Path,
    *,
    project: Path,
    stack: str,
    toolchain: Toolchain,
    plugins: Mapping[str, Path],
    aws_url: str,
    today: date,
    dns_server: str | None = None,
    charts: Sequence[Path] = (),
    pull_charts: bool = False,
) -> Workspace:
    """Lays out a workspace in `folder` for the program in `project` and a copy of `stack_file`.

    What the program lacks of the packages that it is made of it takes from this project. `dns_server` (HOST:PORT) is
    what it is to ask instead of this machine's resolver. `plugins` has the folders of the `pulumi-resource-NAME`
    executables that take a stand-in's place, by name. Helm charts are looked for in the folders `charts`, then among
    those that were pulled before, then with `pull_charts` in their repositories.
    """
    program = folder / "project"
    home = folder / "home"
    pulumi_home = home / ".pulumi"
    for made in (program, pulumi_home, folder / "state", folder / "bin"):
        made.mkdir(parents=True)
    # The engine (3.250.0) writes all that it does, compressed and encrypted, to a folder of this name, with no setting
    # to leave that out: a fifth of its time with a hundred teams, for a home that is thrown away. Where it can't make
    # the folder it goes on without.
    (pulumi_home / "logs").touch()
    for name in _PROGRAM:
        found = project / name if (project / name).exists() else PROJECT / name
        (program / name).symlink_to(found)
    stand_ins = tuple(name for name in STAND_INS if name not in plugins)
    providers = [
        {"name": name, "path": str(plugins.get(name) or _stand_in(folder / "bin" / name, name))} for name in STAND_INS
    ]
    declared = yaml.safe_load((project / "Pulumi.yaml").read_text(encoding="utf-8"))
    # The rehearsal's own Python runs the program: it has the packages that the stand-ins need.
    analyzers = [{"name": f"policy-{_PACK_RUNTIME}", "path": str(_policy_runtime(folder / "bin" / "policies"))}]
    copied = {**declared, "runtime": "python", "plugins": {"providers": providers, "analyzers": analyzers}}
    _write_yaml(program / "Pulumi.yaml", copied)
    content = _nodes(stack_file)
    # How the user's secrets are encrypted is the user's affair; the copy has a passphrase of its own.
    content.value = [(key, value) for key, value in content.value if key.value == "config"]
    _find_chart_paths(content, project)
    if "kubernetes" in plugins:
        _name_charts(content, at_hand([*charts, cache_folder() / "charts"]))
    _write_nodes(program / f"Pulumi.{stack}.yaml", content)
    environment = {**_environment(folder, home, pulumi_home, toolchain, aws_url, today), **_charts(charts, pull_charts)}
    if dns_server:
        environment[DNS_SERVER] = dns_server
    real_aws = _aws_works(environment)
    # Every client of the cluster signs in by it, each time the engine starts one: the real one takes half a second.
    quick_tools = folder / "bin" / "tools"
    _script(quick_tools / "aws", f"{_python()} -m rehearsal.aws.cli")
    # Pulumi's own host of dynamic providers, as its releases bring it: it finds their code where the engine starts it.
    _script(quick_tools / "pulumi-resource-pulumi-python", f"exec {shlex.quote(sys.executable)} -u -m pulumi.dynamic")
    quick = {**environment, "PATH": f"{quick_tools}{os.pathsep}{environment['PATH']}"}
    users = {**environment, "PATH": f"{environment['PATH']}{os.pathsep}{quick_tools}"} if real_aws else quick
    pack = _policy_pack(folder / "policies")
    return Workspace(program, stack, quick, pack, stand_ins, users, real_aws)


def _nodes(path: Path) -> yaml.MappingNode:
    """A YAML file with each value as it is written: the engine takes `no` and `010` for other things than PyYAML."""
    document = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert isinstance(document, yaml.MappingNode)  # it was checked
    return document


def _section(parent: yaml.MappingNode, key: str) -> yaml.MappingNode:
    """The mapping at `key`, which may stand there without the project's name; an empty one when there is none."""
    for name, value in parent.value:
        if name.value in (key, key.removeprefix("gpulab:")):
            return value
    text, mapping = "tag:yaml.org,2002:str", "tag:yaml.org,2002:map"
    parent.value.append((yaml.ScalarNode(text, key), yaml.MappingNode(mapping, [])))
    return parent.value[-1][1]


def _write_nodes(path: Path, document: yaml.Node) -> None:
    path.write_text(yaml.serialize(document, Dumper=yaml.BaseDumper, allow_unicode=True), encoding="utf-8")


def _aws_works(environment: Mapping[str, str]) -> bool:
    """Whether there is an aws CLI that runs; a version manager's shim may find none in the rehearsal's home."""
    try:
        command = ["aws", "--version"]
        return subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _find_chart_paths(content: yaml.MappingNode, project: Path) -> None:
    """Makes the paths under gpulab:charts, which are seen from the project's folder, right for the copy of it."""
    for name, section in _section(content, "config").value:
        if name.value in ("gpulab:charts", "charts") and isinstance(section, yaml.MappingNode):
            for _, source in section.value:
                for key, path in source.value if isinstance(source, yaml.MappingNode) else ():
                    if key.value == "path" and not path.value.startswith("~"):
                        path.value = str(project / path.value)


def _name_charts(content: yaml.MappingNode, paths: Mapping[str, Path]) -> None:
    """Has the program take charts from these paths, but for those of which the stack file says where they come from."""
    if paths:
        section = _section(_section(content, "config"), "gpulab:charts")
        told = {name.value for name, _ in section.value}
        named = {name: {"path": str(path)} for name, path in paths.items() if name not in told}
        section.value += yaml.compose(yaml.safe_dump(named), Loader=yaml.BaseLoader).value


def _charts(folders: Sequence[Path], pull: bool) -> dict[str, str]:
    """Where the kubernetes provider is to look for charts."""
    pulled = cache_folder() / "charts"
    found = {FOLDERS: os.pathsep.join(map(str, [*folders, pulled]))}
    return {**found, DOWNLOADS: str(pulled)} if pull else found


def _stand_in(folder: Path, name: str) -> Path:
    _script(folder / f"pulumi-resource-{name}", f"{_python()} -m rehearsal.providers.{name}")
    return folder


def _policy_pack(folder: Path) -> Path:
    """A copy of the policy pack that the engine starts by `_policy_runtime`."""
    folder.mkdir()
    declared = yaml.safe_load((POLICY_PACK / "PulumiPolicy.yaml").read_text(encoding="utf-8"))
    _write_yaml(folder / "PulumiPolicy.yaml", {**declared, "runtime": _PACK_RUNTIME})
    (folder / "__main__.py").symlink_to(POLICY_PACK / "__main__.py")
    return folder


def _policy_runtime(folder: Path) -> Path:
    """What starts a pack: the engine calls it with its own address and the pack's folder."""
    _script(folder / f"pulumi-analyzer-policy-{_PACK_RUNTIME}", f"{_python()} -u -m pulumi.policy")
    return folder


def _python() -> str:
    return f"PYTHONPATH={shlex.quote(str(PROJECT))} exec {shlex.quote(sys.executable)}"


def _write_yaml(path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _script(path: Path, command: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{command} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


def _environment(
    folder: Path, home: Path, pulumi_home: Path, toolchain: Toolchain, aws_url: str, today: date
) -> dict[str, str]:
    # The interpreter's folder first: the language host takes the first `python` that it finds.
    places = [
        Path(sys.executable).parent,
        *(path.parent for path in toolchain.paths.values()),
    ]
    path = os.pathsep.join([*dict.fromkeys(str(place) for place in places), os.environ.get("PATH", os.defpath)])
    return {
        **{name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
        "PATH": path,
        "HOME": str(home),
        "PULUMI_HOME": str(pulumi_home),
        # Beside each file of the state there would else be one of attributes, which is not written in one go: an engine
        # that is killed there leaves a state that can't be loaded (docs/destroy.md).
        "PULUMI_BACKEND_URL": f"{(folder / 'state').as_uri()}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(16),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        # Without it the engine hides the flag that writes its events to a file.
        "PULUMI_DEBUG_COMMANDS": "true",
        "AWS_ENDPOINT_URL": aws_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / ".aws" / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws" / "credentials"),
        "KUBECONFIG": str(home / ".kube" / "config"),
        "GPULAB_TODAY": today.isoformat(),
        LONGEST_DELETION: str(_LONGEST_DELETION_SECONDS),
    }

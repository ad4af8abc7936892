"""The rehearsal's own copy of a project, and the isolated environment in which the engine and its plugins run.

They do not see the user's settings: the home folder, Pulumi's home and state, the AWS configuration and the Kubernetes
configuration are the rehearsal's, and only `KEPT_VARIABLES` are taken from the user's environment.
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

from rehearsal.providers.kubernetes.archives import DOWNLOADS, FOLDERS
from rehearsal.providers.kubernetes.deleting import LONGEST as LONGEST_DELETION

from . import aws_plugin
from .chart_paths import at_hand
from .toolchain import Toolchain, cache_folder

PROJECT = Path(__file__).resolve().parent.parent.parent
# What stands in for each provider's plugin, as the report has it.
STAND_INS = {
    "aws": "AWS by moto and the aws provider",
    "eks": "the eks provider",
    "kubernetes": "the kubernetes provider",
    "random": "the random provider",
}
_OF_AWS = ("aws", "eks")
POLICY_PACK = PROJECT / "policies"
UNLOCK_CONFIG = POLICY_PACK / "unlock.json"

# The access key of the rehearsal, which only the simulated AWS accepts. A call with another key would be the user's.
ACCESS_KEY = "AKIAREHEARSAL0000000"
SECRET_KEY = "rehearsal"  # noqa: S105 - it opens nothing

# components/ingress/delegation.py reads it; this process does not load that module.
DNS_SERVER = "GPULAB_DNS_SERVER"
# A deletion that hangs for hours on AWS (a pool without Karpenter) fails sooner in a rehearsal.
_LONGEST_DELETION_SECONDS = 240
KEPT_VARIABLES = ("LANG", "LC_ALL", "LC_CTYPE", "TERM", "TMPDIR", "TZ", "GPULAB_DEBUG")
# The parts of the program. The project file and the stack file are rewritten.
_PROGRAM = ("settings", "components", "contracts")
# The debug messages of Pulumi's SDK are off. The program sends several for each resource and waits for the engine each
# time, which takes a tenth of a command's CPU time. No rehearsal shows them.
_MAIN = """import runpy

import pulumi

pulumi.log.debug = lambda *_, **__: None
runpy.run_path({!r}, run_name="__main__")
"""


@dataclass(frozen=True)
class Workspace:
    """A project folder that the engine can run, and the environment to run it in."""

    folder: Path
    stack: str
    environment: Mapping[str, str]
    policy_pack: Path
    """The policy pack for the engine: a program that serves it."""
    stand_ins: tuple[str, ...]
    users_environment: Mapping[str, str]
    """The same environment, but with the user's `aws` CLI if there is one (`has_real_aws`)."""
    has_real_aws: bool

    @property
    def stack_file(self) -> Path:
        """The rehearsal's copy of the stack file."""
        return self.folder / f"Pulumi.{self.stack}.yaml"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the rehearsal's home, which programs use that are given none."""
        return Path(self.environment["KUBECONFIG"])

    def change_config(self, key: str, **values: Any) -> None:
        """Sets `values` in the section `key` (such as `gpulab:lifecycle`) of the copied stack file."""
        document = _nodes(self.stack_file)
        section = _section(_section(document, "config"), key)
        section.value = [pair for pair in section.value if pair[0].value not in values] + _as_nodes(values)
        _write_nodes(self.stack_file, document)


def make(
    folder: Path,
    stack_file: Path,
    *,
    project: Path,
    stack: str,
    toolchain: Toolchain,
    plugins: Mapping[str, Path],
    aws_url: str | None,
    today: date,
    dns_server: str | None = None,
    charts: Sequence[Path] = (),
    pull_charts: bool = False,
) -> Workspace:
    """Creates a workspace in `folder` for the program in `project` and a copy of `stack_file`.

    Without `aws_url` there is no AWS at all: no providers, no credentials and no `aws`.
    Packages that the program lacks are taken from this project. The program uses `dns_server` (HOST:PORT) instead of
    this machine's resolver. `plugins` has the folders of the `pulumi-resource-NAME` executables that replace a
    stand-in, by name. Helm charts are searched in the folders `charts`, then among those that were pulled before, and
    with `pull_charts` in their repositories.
    """
    program = folder / "project"
    home = folder / "home"
    pulumi_home = home / ".pulumi"
    for made in (program, pulumi_home, folder / "state", folder / "bin"):
        made.mkdir(parents=True)
    # The engine (3.276.0) writes a compressed and encrypted log to a folder of this name, and no setting turns it off.
    # With a hundred teams that takes a fifth of its time. A file of this name prevents the log, without an error.
    (pulumi_home / "logs").touch()
    for name in _PROGRAM:
        (program / name).symlink_to(_of(project, name))
    main = _of(project, "__main__.py")
    text = aws_plugin.program(main, aws_url) if aws_url and "aws" in plugins else _MAIN.format(str(main))
    (program / "__main__.py").write_text(text, encoding="utf-8")
    names = [name for name in STAND_INS if aws_url or name not in _OF_AWS]
    stand_ins = tuple(name for name in names if name not in plugins)
    providers = [
        {"name": name, "path": str(plugins.get(name) or _stand_in(folder / "bin" / name, name))} for name in names
    ]
    declared = yaml.safe_load((project / "Pulumi.yaml").read_text(encoding="utf-8"))
    copied = {**declared, "runtime": "python", "plugins": {"providers": providers}}
    _write_yaml(program / "Pulumi.yaml", copied)
    content = _nodes(stack_file)
    # The copy has its own passphrase, so leave out the user's encryption settings.
    content.value = [(key, value) for key, value in content.value if key.value == "config"]
    _find_chart_paths(content, project)
    if "kubernetes" in plugins:
        _name_charts(content, at_hand([*charts, cache_folder() / "charts"]))
    _write_nodes(program / f"Pulumi.{stack}.yaml", content)
    environment = {**_environment(folder, home, pulumi_home, toolchain, aws_url, today), **_charts(charts, pull_charts)}
    # The language host asks pip which packages there are, to find out which plugins they need. The project file has all
    # plugins, and pip takes longer to start than a provider does.
    environment["PULUMI_PYTHON_CMD"] = str(folder / "bin" / "python")
    without_pip = f'[ "$2 $3" = "pip list" ] && echo "[]" && exit\nexec {shlex.quote(sys.executable)}'
    _script(Path(environment["PULUMI_PYTHON_CMD"]), without_pip)
    if dns_server:
        environment[DNS_SERVER] = dns_server
    real_aws = bool(aws_url) and _aws_works(environment)
    quick_tools = folder / "bin" / "tools"
    if aws_url:
        # Each client of the cluster calls `aws` to sign in, and the real CLI takes half a second each time.
        _script(quick_tools / "aws", f"{_python()} -m rehearsal.cloud.cli")
    # Pulumi's own host of dynamic providers, as in its releases. It finds their code in the folder where it starts.
    _script(quick_tools / "pulumi-resource-pulumi-python", f"exec {shlex.quote(sys.executable)} -u -m pulumi.dynamic")
    quick = {**environment, "PATH": f"{quick_tools}{os.pathsep}{environment['PATH']}"}
    users = {**environment, "PATH": f"{environment['PATH']}{os.pathsep}{quick_tools}"} if real_aws else quick
    pack = _policy_pack(folder / "bin" / "policies")
    return Workspace(program, stack, quick, pack, stand_ins, users, real_aws)


def _of(project: Path, name: str) -> Path:
    return project / name if (project / name).exists() else PROJECT / name


def _nodes(path: Path) -> yaml.MappingNode:
    """A YAML file with each value as written, because the engine reads `no` and `010` differently from PyYAML."""
    document = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert isinstance(document, yaml.MappingNode)  # it was checked
    return document


def _as_nodes(values: Mapping[str, Any]) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    return yaml.compose(yaml.safe_dump(dict(values)), Loader=yaml.BaseLoader).value


def _section(parent: yaml.MappingNode, key: str) -> yaml.MappingNode:
    """The mapping at `key`, which may be written without the project's name. A missing one is added, empty."""
    for name, value in parent.value:
        if name.value in (key, key.removeprefix("gpulab:")):
            return value
    text, mapping = "tag:yaml.org,2002:str", "tag:yaml.org,2002:map"
    parent.value.append((yaml.ScalarNode(text, key), yaml.MappingNode(mapping, [])))
    return parent.value[-1][1]


def _write_nodes(path: Path, document: yaml.Node) -> None:
    path.write_text(yaml.serialize(document, Dumper=yaml.BaseDumper, allow_unicode=True), encoding="utf-8")


def _aws_works(environment: Mapping[str, str]) -> bool:
    """Whether there is a working aws CLI. A version manager's shim may find none in the rehearsal's home."""
    try:
        command = ["aws", "--version"]
        return subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _find_chart_paths(content: yaml.MappingNode, project: Path) -> None:
    """Makes the paths under gpulab:charts, which are relative to the project's folder, absolute for the copy."""
    for name, section in _section(content, "config").value:
        if name.value in ("gpulab:charts", "charts") and isinstance(section, yaml.MappingNode):
            for _, source in section.value:
                for key, path in source.value if isinstance(source, yaml.MappingNode) else ():
                    if key.value == "path" and not path.value.startswith("~"):
                        path.value = str(project / path.value)


def _name_charts(content: yaml.MappingNode, paths: Mapping[str, Path]) -> None:
    """Makes the program use the charts at these paths, except for charts whose source the stack file names."""
    if paths:
        section = _section(_section(content, "config"), "gpulab:charts")
        configured = {name.value for name, _ in section.value}
        named = {name: {"path": str(path)} for name, path in paths.items() if name not in configured}
        section.value += _as_nodes(named)


def _charts(folders: Sequence[Path], pull: bool) -> dict[str, str]:
    """Where the kubernetes provider searches for charts."""
    pulled = cache_folder() / "charts"
    found = {FOLDERS: os.pathsep.join(map(str, [*folders, pulled]))}
    return {**found, DOWNLOADS: str(pulled)} if pull else found


def _stand_in(folder: Path, name: str) -> Path:
    _script(folder / f"pulumi-resource-{name}", f"{_python()} -m rehearsal.providers {name}")
    return folder


def _policy_pack(folder: Path) -> Path:
    """A program that the engine starts as a policy pack.

    The engine starts a pack's folder through the language host. The host in tools/language-python starts the user's
    program instead. This program needs no host, and the rehearsal's own Python has the packages that the pack needs.
    """
    program = folder / "gpulab"
    _script(program, f'{_python()} -u -m pulumi.policy "$1" {shlex.quote(str(POLICY_PACK))}')
    (folder / "PulumiPolicy.yaml").symlink_to(POLICY_PACK / "PulumiPolicy.yaml")
    return program


def _python() -> str:
    return f"PYTHONPATH={shlex.quote(str(PROJECT))} exec {shlex.quote(sys.executable)}"


def _write_yaml(path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _script(path: Path, command: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{command} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


def _environment(
    folder: Path, home: Path, pulumi_home: Path, toolchain: Toolchain, aws_url: str | None, today: date
) -> dict[str, str]:
    # The interpreter's folder comes first, because the language host uses the first `python` on PATH.
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
        # Without this setting, each state file has a file of attributes that is not written atomically. If the engine
        # is killed while it writes one, the state cannot be loaded (docs/destroy.md).
        "PULUMI_BACKEND_URL": f"{(folder / 'state').as_uri()}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(16),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        # Without this variable the engine hides the flag for the event log.
        "PULUMI_DEBUG_COMMANDS": "true",
        **(_aws_environment(home, aws_url) if aws_url else {}),
        "KUBECONFIG": str(home / ".kube" / "config"),
        "GPULAB_TODAY": today.isoformat(),
        LONGEST_DELETION: str(_LONGEST_DELETION_SECONDS),
    }


def _aws_environment(home: Path, url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / ".aws" / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws" / "credentials"),
    }

"""What people need to work with a stack that was kept (`--keep`): a file for their shell, and commands to type."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from .machine.processes import MARK
from .machine.toolchain import cache_folder
from .machine.workspace import KEPT_VARIABLES, PROJECT
from .stack_phases import StackPhases

SHELL_FILE = "shell.sh"

# The user's own settings that would make a tool miss the kept stack: by the prefix of a variable's name, or by name.
_PREFIXES = ("AWS_", "PULUMI_", "KUBE", "HELM_", "GPULAB_", "PYTHON")
_NAMES = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "http_proxy", "https_proxy", "all_proxy")
_NAMES_IN_CAPITALS = tuple(name.upper() for name in _NAMES if name.islower())


def keep(rehearsal: StackPhases[Any]) -> list[str]:
    """Keeps the stack running and returns lines for people: how to work with it and how to end it."""
    session = rehearsal.session
    file = session.folder / SHELL_FILE
    file.touch(mode=0o600)  # the passphrase of the state's secrets is in it
    variables = _variables(rehearsal)
    file.write_text(shell_file(session.id, variables), encoding="utf-8")
    session.keep()
    lines = [
        "",
        "The stack is up and stays up until you end it. In a new shell:",
        *([f"  {rehearsal.way_in}"] if rehearsal.way_in else []),
        f"  . {shlex.quote(str(file))}",
        f"  cd {shlex.quote(str(rehearsal.workspace.folder))}",
        "  pulumi up    # or preview, refresh, destroy",
    ]
    if rehearsal.workspace.has_real_aws:
        lines.append("  aws ec2 describe-instances")
    if shutil.which("kubectl", path=variables["PATH"]):
        lines.append("  kubectl get pods -A")
    lines += [
        "To end it, with everything that you started in that shell:",
        f"  cd {shlex.quote(str(PROJECT))} && {shlex.quote(sys.executable)} -m rehearsal down {session.id}",
    ]
    return lines


def shell_file(id: str, variables: Mapping[str, str]) -> str:
    """The text of a file for sh, bash or zsh that makes a shell use the kept stack `id`."""
    prefixes, names = "|".join(_PREFIXES), " ".join(_NAMES + _NAMES_IN_CAPITALS)
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))
    return (
        f"# The environment of {id}, a rehearsal that was kept. Load it in a new shell with `. FILE`. That shell then\n"
        "# uses none of your own state, credentials or settings.\n"
        f"unset {names} $(env | sed -n -E 's/^(({prefixes})[A-Za-z0-9_]*)=.*/\\1/p')\n"
        f"{exports}"
    )


def _variables(rehearsal: StackPhases[Any]) -> dict[str, str]:
    """What the engine, the aws CLI and kubectl need. Language and terminal settings stay the user's own."""
    environment = rehearsal.workspace.users_environment
    return {
        **{name: value for name, value in environment.items() if name not in KEPT_VARIABLES},
        **rehearsal.shell_variables,
        "KUBECONFIG": str(rehearsal.plane.kubeconfig),
        # `down` finds the session there, because HOME is now the rehearsal's.
        "GPULAB_CACHE": str(cache_folder()),
        # `down` also ends processes that people start from this shell.
        MARK: rehearsal.session.id,
    }

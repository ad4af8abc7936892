"""What a person needs for a stack that was kept (`--keep`): a file for their shell, and what to type there."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping

from .phases import Rehearsal
from .processes import MARK
from .toolchain import cache_folder
from .workspace import KEPT_VARIABLES, PROJECT

SHELL_FILE = "shell.sh"

# Settings of a person's own that lead a tool past the kept stack: by the start of a variable's name, or by its name.
_PREFIXES = ("AWS_", "PULUMI_", "KUBE", "HELM_", "GPULAB_", "PYTHON")
_NAMES = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "http_proxy", "https_proxy", "all_proxy")
_NAMES_IN_CAPITALS = tuple(name.upper() for name in _NAMES if name.islower())


def keep(rehearsal: Rehearsal) -> list[str]:
    """Leaves the stack up; returns lines for people: how to work with it and how to end it."""
    session = rehearsal.session
    file = session.folder / SHELL_FILE
    file.touch(mode=0o600)  # the passphrase of the state's secrets is in it
    variables = _variables(rehearsal)
    file.write_text(shell_file(session.id, variables), encoding="utf-8")
    session.keep()
    lines = [
        "",
        "The stack is up and stays up until you end it. In a new shell:",
        f"  . {shlex.quote(str(file))}",
        f"  cd {shlex.quote(str(rehearsal.workspace.folder))}",
        "  pulumi up    # or preview, refresh, destroy",
    ]
    if rehearsal.workspace.has_real_aws:
        lines.append("  aws ec2 describe-instances")
    if shutil.which("kubectl", path=variables["PATH"]):
        lines.append("  kubectl get pods -A")
    lines += [
        "To end it, and what you started in that shell:",
        f"  cd {shlex.quote(str(PROJECT))} && {shlex.quote(sys.executable)} -m rehearsal down {session.id}",
    ]
    return lines


def shell_file(id: str, variables: Mapping[str, str]) -> str:
    """The text of the file for sh, bash or zsh that turns a person's shell into one of the kept stack `id`."""
    prefixes, names = "|".join(_PREFIXES), " ".join(_NAMES + _NAMES_IN_CAPITALS)
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))
    return (
        f"# The environment of {id}, a rehearsal that was kept. Read it into a new shell by `. FILE`: from then on no\n"
        "# state, credentials or settings of your own are used there.\n"
        f"unset {names} $(env | sed -n -E 's/^(({prefixes})[A-Za-z0-9_]*)=.*/\\1/p')\n"
        f"{exports}"
    )


def _variables(rehearsal: Rehearsal) -> dict[str, str]:
    """All that the engine, the aws CLI and kubectl need; the language and the terminal stay the person's own."""
    environment = rehearsal.workspace.users_environment
    return {
        **{name: value for name, value in environment.items() if name not in KEPT_VARIABLES},
        "AWS_DEFAULT_REGION": rehearsal.settings.region,
        "KUBECONFIG": str(rehearsal.plane.kubeconfig),
        # `down` finds the session there: HOME is the rehearsal's own from now on.
        "GPULAB_CACHE": str(cache_folder()),
        # `down` also ends what a person starts from here.
        MARK: rehearsal.session.id,
    }

"""The file that turns a person's shell into one of a kept stack."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.keeping import shell_file

VARIABLES = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "HOME": "/re hearsal's/home",
    "PULUMI_CONFIG_PASSPHRASE": '-$(a)`b`\\\n"c"',
}
USERS_OWN = {
    "AWS_PROFILE": "production",
    "PULUMI_ACCESS_TOKEN": "pul-users-own",
    "KUBECONFIG": "/users/own",
    "PYTHONPATH": "/users/own",
    "HTTPS_PROXY": "http://users.own.example.com",
    "https_proxy": "http://users.own.example.com",
    "HOME": "/users/own",
    "GPULAB_DNS_SERVER": "127.0.0.1:53",
}
SHELLS = [shell for shell in ("sh", "bash", "zsh") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("users_own", [USERS_OWN, {}], ids=["settings of their own", "none"])
def test_a_shell_has_all_of_the_stack_and_nothing_of_its_user(
    tmp_path: Path, shell: str, users_own: dict[str, str]
) -> None:
    file = tmp_path / "it's.sh"
    file.write_text(shell_file("dev-1", VARIABLES), encoding="utf-8")
    told = "import json, os; print(json.dumps(dict(os.environ)))"
    typed = f"set -eu\n. {shlex.quote(str(file))}\n{shlex.quote(sys.executable)} -c {shlex.quote(told)}"
    done = subprocess.run(
        [shell, "-c", typed],
        env={"PATH": os.environ["PATH"], "TERM": "dumb", **users_own},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    seen = json.loads(done.stdout)
    assert {name: seen[name] for name in (*VARIABLES, "TERM")} == {**VARIABLES, "TERM": "dumb"}
    assert seen.keys().isdisjoint(USERS_OWN.keys() - VARIABLES.keys())

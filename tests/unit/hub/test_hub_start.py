"""How a notebook's server starts: start.sh, run as the pod runs it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pip
import pytest

from components.hub.inside import pod_files, start_messages


class Container:
    """What start.sh needs of a Jupyter image: its own Python, bash, and a server, which reports its environment."""

    def __init__(self, folder: Path, *, with_pip: bool = False) -> None:
        self.home = folder / "home"
        self.python = folder / "conda"
        self.user_base = self.home / ".local" / "images" / "example"
        self._folder = folder
        self.home.mkdir()
        # With it, people's packages are seen, as by an image's Python, which is no virtual environment.
        kind = "--system-site-packages"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", kind, self.python], check=True)
        if with_pip:
            # That of the tests' own environment: to install it takes seconds.
            (packages,) = self.python.glob("lib/python3*/site-packages")
            (packages / "pip").symlink_to(Path(pip.__file__).parent)
        script(self.python / "bin" / "jupyterhub-singleuser", f"#!{self.python / 'bin' / 'python'}\n{SERVER}")

    @property
    def packages(self) -> Path:
        """Where pip puts packages into the home."""
        (packages,) = self.python.glob("lib/python3*/site-packages")
        return self.user_base / packages.relative_to(self.python)

    def start(
        self, *arguments: str, startup: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs start.sh as the pod does, with the folder of its files elsewhere."""
        brought = self._folder / "gpulab"
        brought.mkdir(exist_ok=True)
        text = (Path(pod_files.__file__).parent / "notebook_start.sh").read_text(encoding="utf-8")
        log = self._folder / "startup.log"
        (brought / "terminals.py").write_text("", encoding="utf-8")
        (brought / "buckets.py").write_text("import sys; print('tried for', sys.argv[1])", encoding="utf-8")
        (brought / "start.sh").write_text(
            text.replace(pod_files.FOLDER, str(brought))
            .replace("/tmp/startup.log", str(log))
            .replace("/tmp/buckets.txt", str(self._folder / "buckets.txt")),
            encoding="utf-8",
        )
        if startup is not None:
            (brought / "startup.sh").write_text(startup, encoding="utf-8")
        return self.run(shlex.join(["bash", str(brought / "start.sh"), *arguments]), **environment)

    def server(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """What the server reports after its start."""
        started = self.start(*arguments, **environment)
        assert started.returncode == 0, started.stderr
        return json.loads(started.stdout.splitlines()[-1])

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.home}/.local/bin:{self.python / 'bin'}:/usr/bin:/bin"
        known = {"HOME": str(self.home), "TMPDIR": str(self._folder), "PATH": path}
        known |= {"PYTHONUSERBASE": str(self.user_base), **environment}
        return subprocess.run(
            ["bash", "-c", command], env=known, capture_output=True, text=True, check=False, timeout=120
        )


# It says its arguments and variables, and whether it, and a kernel that it starts, have a package of the home.
SERVER = """
import json, os, subprocess, sys
from importlib.util import find_spec
find = "from importlib.util import find_spec; print(bool(find_spec('of_home')))"
kernel = subprocess.run([sys.executable, "-c", find], capture_output=True, text=True)
seen = {"server": bool(find_spec("of_home")), "kernel": kernel.stdout.strip() == "True"}
print(json.dumps({"arguments": sys.argv[1:], "executable": sys.executable, "seen": seen, **os.environ}))
"""


def script(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)


def test_the_server_starts_with_the_hubs_arguments_and_the_homes_programs_first(tmp_path: Path) -> None:
    container = Container(tmp_path)
    server = container.server("--port=8888", "--debug flag")
    assert server["arguments"] == ["--port=8888", "--debug flag"]
    assert server["PATH"].startswith(f"{container.user_base}/bin:")
    assert server["JUPYTER_PATH"].split(":") == [
        f"{tmp_path / 'gpulab'}/share/jupyter",
        "/tmp/gpulab/share/jupyter",
        f"{container.user_base}/share/jupyter",
    ]
    assert server["CONDA_ENVS_DIRS"] == f"{container.home}/.conda/envs"


def test_a_package_of_the_home_is_for_kernels_and_no_program_of_it_is_the_server(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.packages.mkdir(parents=True)
    (container.packages / "of_home.py").touch()
    # As pip, uv and a `pip install jupyterhub` leave them; the image's PATH may name their folder.
    for folder in (container.home / ".local" / "bin", container.user_base / "bin"):
        for program in ("jupyterhub-singleuser", "python3"):
            script(folder / program, "#!/bin/bash\nexit 3\n")
    assert container.server()["seen"] == {"server": False, "kernel": True}


def test_the_server_is_started_by_its_own_python_however_it_is_written(tmp_path: Path) -> None:
    """Terminals and kernels get the image's packages from it, and pip.conf applies to it."""
    container = Container(tmp_path)
    server, links = container.python / "bin" / "jupyterhub-singleuser", tmp_path / "links"
    python, path = container.python / "bin" / "python", f"{links}:/usr/bin:/bin"
    # Another Python, whose folder is first on the path.
    script(links / "python3", "#!/bin/bash\nexit 3\n")
    (links / server.name).symlink_to(server)
    # As pip and conda write it below a folder whose name is long, or has spaces.
    script(server, f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n{SERVER}")
    assert container.server(PATH=path)["executable"] == str(python)
    script(server, f"#!/usr/bin/env python3\n{SERVER}")
    assert container.server()["executable"] == str(python.with_name("python3"))
    # One that is no Python is started as it is.
    script(container.python / "server.py", SERVER)
    script(
        server,
        f'#!/bin/bash\n# By python of a folder of its own.\nexec "{python}" "{container.python}/server.py" "$@"\n',
    )
    assert container.server("--port=8888", PATH=path)["arguments"] == ["--port=8888"]


def test_a_clean_start_has_nothing_that_the_home_has_installed_or_set(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.packages.mkdir(parents=True)
    (container.packages / "of_home.py").touch()
    server = container.server(GPULAB_CLEAN="1")
    assert server["seen"] == {"server": False, "kernel": False}
    assert str(container.user_base) not in server["PATH"] + server["JUPYTER_PATH"]
    for variable in ("JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        assert not Path(server[variable]).is_relative_to(container.home)
        assert not list(Path(server[variable]).iterdir())
    # Then it is there as before.
    assert container.server()["seen"]["kernel"]


@pytest.mark.parametrize("reached", ["", "s3://lab/research/"])
def test_a_teams_buckets_are_tried_where_it_has_some(reached: str, tmp_path: Path) -> None:
    Container(tmp_path).server(GPULAB_BUCKETS=reached)
    said = tmp_path / "buckets.txt"
    assert said.exists() == bool(reached)
    if reached:
        for _ in range(300):  # the server does not wait for it
            if text := said.read_text(encoding="utf-8"):
                break
            time.sleep(0.1)
        assert f"{pod_files.EXTENSION}/live/buckets.json" in text


def test_what_is_mounted_outside_the_home_is_seen_in_it_and_what_people_have_stays(tmp_path: Path) -> None:
    container = Container(tmp_path)
    places = {name: tmp_path / "mounts" / name for name in ("shared", "datasets", "models")}
    for place in places.values():
        place.mkdir(parents=True)
    (container.home / "models").mkdir()
    (container.home / "datasets").symlink_to(tmp_path / "where-it-was-before")
    links = ":".join(f"{name}={place}" for name, place in places.items())
    for _ in range(2):
        container.server(GPULAB_LINKS=links)
        assert (container.home / "shared").readlink() == places["shared"]
        assert (container.home / "datasets").readlink() == places["datasets"]
        assert not (container.home / "models").is_symlink()
        assert not list(places["shared"].iterdir()), "no link in what it leads to"


def test_terminals_know_conda_and_keep_the_path_of_the_server(tmp_path: Path) -> None:
    """`conda shell.bash hook` prints a function, and at the end the activation of base."""
    container = Container(tmp_path)
    hook = "conda() { [ $2 != base ] || PATH=/of/base:$PATH; echo $1 $2; }\nconda activate 'base'\n"
    script(container.python / "bin" / "conda", f"#!/bin/bash\ncat <<'E'\n{hook}E\n")
    path = container.server()["PATH"]
    terminal = container.run("bash -l -i -c 'conda activate mine; echo $PATH'", PATH=path, GPULAB_PATH=path)
    assert terminal.stdout.splitlines() == ["activate mine", path], terminal.stderr
    # Where the image has no conda, a terminal says nothing of it; and what people have written stays.
    (container.python / "bin" / "conda").unlink()
    assert "conda" not in container.run("bash -l -i -c true", GPULAB_PATH=path).stderr
    (container.home / ".bashrc").write_text("echo mine\n", encoding="utf-8")
    container.server()
    assert container.run("bash -l -i -c true").stdout == "mine\n"


def test_a_startup_script_that_fails_is_told_and_keeps_nobody_from_the_server(tmp_path: Path) -> None:
    container = Container(tmp_path)
    # The second as what the kernel ends for want of memory; with that code `timeout` ends, too.
    for code, ending in ((3, "exit 3"), (137, "kill -9 $$")):
        startup = f"echo hello\nfalse\n{ending}\n"
        started = container.start("--port=8888", startup=startup, GPULAB_STARTUP_SECONDS="60")
        assert started.returncode == 0
        assert "--port=8888" in started.stdout
        # As the hub reads it, for the page of whoever waits.
        said = start_messages.startup(started.stdout)
        assert "hello" in said
        assert any(f"failed with exit code {code}" in line for line in said)
    assert "hello" in (tmp_path / "startup.log").read_text(encoding="utf-8").splitlines()


def test_a_startup_script_that_never_ends_is_ended_and_the_server_starts(tmp_path: Path) -> None:
    started = Container(tmp_path).start("--port=8888", startup="sleep 3600\n", GPULAB_STARTUP_SECONDS="1")
    assert started.returncode == 0
    assert "--port=8888" in started.stdout
    assert any("was ended after 1 seconds (startupTimeout)" in line for line in start_messages.startup(started.stdout))


def wheel(folder: Path) -> Path:
    """A package with one empty module."""
    file = folder / "example_of_home-1-py3-none-any.whl"
    about = "example_of_home-1.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("example_of_home.py", "")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: example-of-home\nVersion: 1\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return file


def test_what_people_install_is_in_their_home_and_virtual_environments_work(tmp_path: Path) -> None:
    container = Container(tmp_path, with_pip=True)
    assert container.start().returncode == 0
    install = f"-m pip install --no-index --disable-pip-version-check {wheel(tmp_path)}"
    where = "-c 'import example_of_home; print(example_of_home.__file__)'"

    own = container.home / "own"
    assert container.run(f"python3 -m venv {own}").returncode == 0
    in_own = container.run(f"{own}/bin/python {install} && {own}/bin/python {where}")
    assert in_own.stdout.splitlines()[-1].startswith(str(own)), in_own.stderr

    # As %pip in a kernel, which finds the package at once.
    within = f"import os; os.system('python3 {install}'); import example_of_home; print(example_of_home.__file__)"
    in_home = container.run(shlex.join(["python3", "-c", within]))
    assert in_home.stdout.splitlines()[-1].startswith(str(container.packages)), in_home.stderr

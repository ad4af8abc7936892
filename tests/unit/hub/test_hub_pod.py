"""The pod of a choice, as KubeSpawner's traits say it; the live tests have it made and admitted."""

from __future__ import annotations

import shlex
import string
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pip
import pytest
from hub_catalogue import NOON, choice, dev, document
from hypothesis import given
from hypothesis import strategies as st

from components import volumes
from components.hub import files, pod
from components.hub.catalogue import parse
from components.hub.pod import overrides, pools_for, requests
from components.hub.quantities import amount, words
from components.node_pools import POOL_LABEL
from components.team_names import NOTEBOOK_SERVICE_ACCOUNT
from settings.storage import SCRATCH


def made(slug: str, *roles: str) -> dict[str, Any]:
    return overrides(dev(), choice(slug, *roles), NOON)


def test_the_modules_own_names_are_those_of_the_program() -> None:
    """The hub has none of the program's modules, so some names are there twice."""
    assert pod.SERVICE_ACCOUNT == NOTEBOOK_SERVICE_ACCOUNT
    assert pod.POOL_LABEL == POOL_LABEL
    assert (pod.UID, pod.GID) == (volumes.UID, volumes.GID)
    assert volumes.home_claim_name("{username}") == pod.HOME_CLAIM
    assert pod.SCRATCH == SCRATCH
    scratch = volumes.scratch(100)
    fine_tuning = made("research_fine-tuning")
    assert scratch.volume in fine_tuning["volumes"]
    assert scratch.mount in fine_tuning["volume_mounts"]
    assert fine_tuning["extra_resource_limits"]["ephemeral-storage"] == str(int(amount("100Gi")))


def test_gpus_are_asked_for_in_their_pool_and_by_what_the_choice_says_of_them() -> None:
    found = made("research_fine-tuning")
    assert found["extra_resource_limits"]["nvidia.com/gpu"] == "1"
    assert found["extra_resource_limits"] == found["extra_resource_guarantees"]
    assert found["node_selector"] == {POOL_LABEL: "gpu"}
    (term,) = found["node_affinity_required"]
    assert {"key": POOL_LABEL, "operator": "In", "values": ["gpu"]} in term["matchExpressions"]
    assert {"karpenter.k8s.aws/instance-gpu-memory"} < {one["key"] for one in term["matchExpressions"]}
    assert any(one["key"] == "nvidia.com/gpu" for one in found["tolerations"])


def test_cpu_notebooks_stay_on_the_teams_cpu_pools_and_tolerate_no_gpus() -> None:
    document_ = document()
    document_["pools"]["cpu-large"] = {
        **document_["pools"]["cpu"],
        "tolerations": [{"key": "large", "operator": "Exists", "effect": "NoSchedule"}],
    }
    document_["teams"]["research"]["nodePools"].append("cpu-large")
    catalogue = parse(document_)
    python = choice("research_python", catalogue=catalogue)
    found = overrides(catalogue, python, NOON)
    assert [pool.name for pool in pools_for(catalogue, python)] == ["cpu", "cpu-large"]
    assert found["node_selector"] == {}
    (term,) = found["node_affinity_required"]
    assert term["matchExpressions"] == [{"key": POOL_LABEL, "operator": "In", "values": ["cpu", "cpu-large"]}]
    assert [one["key"] for one in found["tolerations"]] == ["large"]


def test_with_several_roles_a_volume_is_writable_where_one_of_them_writes() -> None:
    def read_only(*roles: str) -> bool:
        mounts = made("data-platform_python", *roles)["volume_mounts"]
        return next(one for one in mounts if one["mountPath"] == "/home/datasets").get("readOnly", False)

    assert read_only("data-scientist")
    assert not read_only("developer")
    assert not read_only("data-scientist", "developer")


def test_memory_is_kept_and_limited_and_processors_are_kept_alone() -> None:
    found = made("research_python")
    assert found["mem_guarantee"] == found["mem_limit"] == int(amount(dev().profiles["python"].memory))
    assert "cpu_limit" not in found, "what a node has to spare may be used"


def test_what_a_team_has_to_pay_for_is_what_is_asked_for() -> None:
    asked = requests(choice("research_multi-gpu"))
    assert asked["nvidia.com/gpu"] == 4
    assert set(asked) == {"cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"}


def test_private_images_are_pulled_with_the_teams_secret() -> None:
    changed = document()
    changed["hub"]["registry"] = {"mirror": "mirror.example.com", "pullSecret": "registry"}
    catalogue = parse(changed)
    assert overrides(catalogue, choice("research_python", catalogue=catalogue), NOON)["image_pull_secrets"] == [
        "registry"
    ]
    assert made("research_python")["image_pull_secrets"] == []


@given(st.text(alphabet=string.printable, max_size=40).filter(lambda text: not text.rstrip().endswith("-")))
def test_texts_come_out_of_kubespawners_templates_as_they_were(text: str) -> None:
    changed = document()
    changed["profiles"]["python"]["env"] = {"VALUE": text}
    catalogue = parse(changed)
    value = overrides(catalogue, choice("research_python", catalogue=catalogue), NOON)["environment"]["VALUE"]
    assert value.format(username="ada") == text


def test_every_file_of_the_volume_is_in_an_annotation() -> None:
    changed = document()
    changed["profiles"]["python"]["startup"] = "pip install example\n"
    catalogue = parse(changed)
    found = overrides(catalogue, choice("research_python", catalogue=catalogue), NOON)
    (volume,) = [one for one in found["volumes"] if one["name"] == files.VOLUME]
    paths = {item["path"]: item["fieldRef"]["fieldPath"] for item in volume["downwardAPI"]["items"]}
    for field in paths.values():
        assert field.removeprefix("metadata.annotations['").removesuffix("']") in found["extra_annotations"]
    assert {"start.sh", "startup.sh"} < set(paths)
    # Kubernetes' limit of all annotations together.
    assert sum(map(len, found["extra_annotations"].values())) < 256 * 1024 / 4


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("500m", "0.5"), ("8Gi", str(8 * 1024**3)), ("2", "2"), ("1.5", "1.5"), ("3k", "3000"), ("64Ki", "65536")],
        # As the API server gives back what was written so.
        *[("1e9", "1000000000"), ("12E6", "12000000"), ("1e-3", "0.001"), ("1E", str(10**18)), ("1Ei", str(2**60))],
        *[("100u", "0.0001"), ("5n", "0.000000005"), ("+1", "1"), ("-1", "-1"), (".5", "0.5"), ("1.", "1")],
    ],
)
def test_quantities(text: str, number: str) -> None:
    assert amount(text) == Decimal(number)


@pytest.mark.parametrize("text", ["8 GiB", "", ".", "Gi", "1K", "1ee3", "e3", "1e", "nan", "Infinity"])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        amount(text)


@pytest.mark.parametrize(
    ("resource", "text", "said"),
    [
        ("nvidia.com/gpu", "1", "1 GPU"),
        ("nvidia.com/gpu", "10", "10 GPUs"),
        ("nvidia.com/gpu.shared", "2", "2 shared GPUs"),
        ("nvidia.com/mig-1g.5gb", "1", "1 slice 1g.5gb"),
        ("cpu", "500m", "0.5 vCPU"),
        ("memory", "12Gi", "12 GiB of memory"),
        ("pods", "1", "1 notebook"),
    ],
)
def test_amounts_in_words(resource: str, text: str, said: str) -> None:
    assert words(resource, amount(text)) == said


class Container:
    """What of a Jupyter image start.sh needs: a Python of its own, bash, and a server to start."""

    def __init__(self, folder: Path, *, with_pip: bool = False) -> None:
        self.home = folder / "home"
        self.python = folder / "conda"
        self._folder = folder
        self.home.mkdir()
        kind = ["--system-site-packages"] if with_pip else []
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", *kind, self.python], check=True)
        if with_pip:
            # That of the tests' own environment: to install it takes seconds.
            (packages,) = self.python.glob("lib/python3*/site-packages")
            (packages / "pip").symlink_to(Path(pip.__file__).parent)
        server = self.python / "bin" / "jupyterhub-singleuser"
        server.write_text(
            '#!/bin/bash\nprintf "%s\\n" "$@" "PATH=$PATH" "JUPYTER_PATH=$JUPYTER_PATH" "ENVS=$CONDA_ENVS_DIRS"\n'
        )
        server.chmod(0o755)

    def start(self, *arguments: str, startup: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs start.sh as the pod does, with the folder of its files elsewhere."""
        brought = self._folder / "gpulab"
        brought.mkdir(exist_ok=True)
        script = (Path(files.__file__).parent / "start.sh").read_text(encoding="utf-8")
        log = self._folder / "startup.log"
        (brought / "terminals.py").write_text("", encoding="utf-8")
        (brought / "start.sh").write_text(
            script.replace(files.FOLDER, str(brought)).replace("/tmp/startup.log", str(log)), encoding="utf-8"
        )
        if startup is not None:
            (brought / "startup.sh").write_text(startup, encoding="utf-8")
        return self.run(shlex.join(["bash", str(brought / "start.sh"), *arguments]))

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": str(self.home), "PATH": f"{self.python / 'bin'}:/usr/bin:/bin"}
        return subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=120
        )


def test_the_server_starts_with_the_hubs_arguments_and_the_homes_programs_first(tmp_path: Path) -> None:
    container = Container(tmp_path)
    started = container.start("--port=8888", "--debug flag")
    assert started.returncode == 0, started.stderr
    lines = started.stdout.splitlines()
    assert lines[:2] == ["--port=8888", "--debug flag"]
    assert lines[2].startswith(f"PATH={container.home}/.local/bin:")
    assert lines[3] == f"JUPYTER_PATH={tmp_path / 'gpulab'}/share/jupyter"
    assert lines[4] == f"ENVS={container.home}/.conda/envs"


def test_a_startup_script_that_fails_is_told_and_keeps_nobody_from_the_server(tmp_path: Path) -> None:
    started = Container(tmp_path).start("--port=8888", startup="echo hello\nfalse\nexit 3\n")
    assert started.returncode == 0
    assert "hello" in started.stdout
    assert "--port=8888" in started.stdout
    assert "ended with 3" in started.stderr


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

    in_home = container.run(f"python3 {install} && python3 {where}")
    assert in_home.stdout.splitlines()[-1].startswith(str(container.home / ".local")), in_home.stderr

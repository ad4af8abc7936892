"""What verify makes of a notebook's answers, and the source that it sends to a kernel."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import settings
from components.hub.catalogue_from_settings import catalogue as catalogue_document
from components.hub.inside import catalogue as hub_catalogue
from components.hub.inside import verify_notebook
from components.hub.inside.choices import Choice, choices
from components.hub.inside.sections import Section
from components.hub.inside.verify_answers import Untried, Wrong
from components.hub.inside.verify_notebook import Trial
from rehearsal.machine.workspace import PROJECT
from rehearsal.stack_phases import REHEARSAL_DAY

SETTINGS = settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", stack="dev", today=REHEARSAL_DAY)
CATALOGUE = hub_catalogue.parse(catalogue_document(SETTINGS))
MIB, GIB = 1024**2, 1024**3
FOLDER = {"size": 100 * GIB, "free": 50 * GIB, "same": True}
READ_ONLY = {**FOLDER, "error": "EROFS", "said": "[Errno 30] Read-only file system"}
ORDINARY = {"uid": 1000, "capabilities": 0, "mayGainPrivileges": False, "hasClusterToken": False}
DRIVER = {"gpus": ["GPU 0: NVIDIA L4 (UUID: GPU-1)"], "driver": "580.95.05", "cuda": "13.0"}
TORCH = {"version": "2.9.0", "cuda": "12.8", "gpus": ["NVIDIA L4"], "said": "", "driver": DRIVER}
LEARNED = {"seconds": 0.4, "first": 1.0, "last": 0.001}


def choice(*, gpu: bool) -> Choice:
    offered = choices(CATALOGUE, ["/research/data-scientist"])
    return next(one for one in offered if (one.profile.gpu is not None) == gpu)


def trials(*, gpu: bool) -> dict[str, Trial]:
    found = {one.name: one for one in verify_notebook.trials(CATALOGUE, choice(gpu=gpu))}
    return {**found, OTHERS: verify_notebook.others_trial([("10.0.0.1", 8888)])}


HOME, OTHERS, METADATA = "its home takes files", "other teams are out of its reach", "the instance metadata is out of"
SHARED, GPU, SEES = "shared memory has the profile's size", "nvidia-smi shows its GPUs", "PyTorch sees its GPUs"


def answer(trial: Trial) -> Any:
    """What a notebook that works answers."""
    profile = choice(gpu=True).profile
    by_call = {
        "folder": READ_ONLY if "read-only" in trial.name else FOLDER,
        "identity": ORDINARY,
        "clock": time.time(),
        "names": [""],
        "reached": [False],
        "memory_limit": int(verify_notebook.amount(profile.memory)),
        "above_memory_limit": {"lived": False, "killed": True},
        "driver": DRIVER,
        "{**torch_gpus": TORCH,
        "tensorflow_gpus": {"missing": "No module named 'tensorflow'"},
        "multiplication": {"cpu": 0.5, "gpu": 0.01},
        "training": LEARNED,
        "gpu_memory": {"total": 24 * GIB, "wanted": 5 * GIB, "before": GIB, "held": 6 * GIB, "after": GIB},
    }
    return by_call[trial.call.partition("(")[0]]


def test_a_notebook_that_works_passes_every_trial() -> None:
    for name, trial in trials(gpu=True).items():
        if name.startswith("TensorFlow"):
            with pytest.raises(Untried, match="No module named"):
                trial.judge(answer(trial))
        else:
            assert trial.found(f"a warning of a library\n{json.dumps(answer(trial))}\n"), name


BROKEN: dict[str, tuple[str, Any, Section, str]] = {
    "home read-only": (HOME, READ_ONLY, Section.STORAGE, "/home/jovyan takes no files"),
    "home full": (
        HOME,
        {**FOLDER, "error": "ENOSPC", "said": "[Errno 28] No space left on device"},
        Section.DISK_FULL,
        "/home/jovyan is full",
    ),
    "disk nearly full": ("scratch takes files", {**FOLDER, "free": MIB}, Section.DISK_FULL, "has 1 MiB left"),
    "datasets writable": ("/home/datasets is read-only", FOLDER, Section.STORAGE, "should only read there"),
    "/dev/shm small": (SHARED, {**FOLDER, "size": 64 * MIB}, Section.SHARED_MEMORY, "/dev/shm has 64 MiB"),
    "metadata reachable": (METADATA, [False, True], Section.ISOLATION, "reaches the instance metadata"),
    "another team reachable": (OTHERS, [True], Section.ISOLATION, "reaches another team's notebook"),
    "API server reachable": ("the API server is out of its reach", [True], Section.ISOLATION, "reaches the API server"),
    "root": ("its processes have no rights", {**ORDINARY, "uid": 0}, Section.ISOLATION, "they run as user 0, not 1000"),
    "clock off": ("its clock is right", 1_000_000_000.0, Section.CLOCK, "the node's clock is -"),
    "DNS broken": (
        "it finds names",
        ["[Errno -3] Temporary failure in name resolution"],
        Section.DNS,
        "kubernetes.default.svc is not found",
    ),
    "no memory limit": ("the memory limit is the profile's", None, Section.MEMORY, "the notebook has no limit"),
    "no GPU": (GPU, {"error": "the notebook has no nvidia-smi"}, Section.NO_GPUS, "no nvidia-smi"),
    "driver and library differ": (
        GPU,
        {"error": "nvidia-smi failed", "said": "Failed to initialize NVML: Driver/library version mismatch"},
        Section.DRIVER,
        "nvidia-smi failed",
    ),
    "too many GPUs": (GPU, {**DRIVER, "gpus": DRIVER["gpus"] * 4}, Section.NO_GPUS, "should see 1 GPUs and sees 4"),
    "wrong driver": (
        SEES,
        {**TORCH, "gpus": [], "cuda": "13.2", "said": "The NVIDIA driver on your system is too old"},
        Section.DRIVER,
        "PyTorch is for CUDA 13.2, the node's driver supports 13.0",
    ),
    "CUDA not available": (
        SEES,
        {**TORCH, "gpus": [], "said": "Torch not compiled with CUDA enabled", "cuda": None},
        Section.CUDA,
        "PyTorch 2.9.0 sees no GPU",
    ),
    "GPU slow": (
        "a multiplication is faster on the GPU",
        {"cpu": 0.5, "gpu": 1.0},
        Section.CONTENTION,
        "the GPU is not faster",
    ),
    "mixed precision breaks": (
        "it trains in mixed precision",
        {**LEARNED, "last": float("nan")},
        Section.PRECISION,
        "it learned nothing",
    ),
    "GPU memory leaks": (
        "the GPU's memory is freed again",
        {"total": 24 * GIB, "wanted": 5 * GIB, "before": GIB, "held": 6 * GIB, "after": 6 * GIB},
        Section.GPU_MEMORY,
        "memory was not freed",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_broken_notebook_is_told_apart(case: str) -> None:
    name, said, section, words = BROKEN[case]
    (trial,) = [one for known, one in trials(gpu=True).items() if known.startswith(name)]
    with pytest.raises(Wrong, match=words.replace("(", r"\(")) as wrong:
        trial.found(json.dumps(said))
    assert wrong.value.section is section


def kernel(code: str) -> Any:
    """What the source and a call print in a Python of its own."""
    source = verify_notebook.SOURCE.read_text(encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", f"{source}\n{code}"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def asked(call: str) -> Any:
    return kernel(f"import json\nprint(json.dumps({call}))")


def test_the_source_finds_what_is_there(tmp_path: Path) -> None:
    found = asked(f"folder({str(tmp_path)!r})")
    assert found["same"]
    assert found["free"] > 0
    assert not list(tmp_path.iterdir())
    assert asked("folder('/no/such/folder')")["error"] == "ENOENT"
    assert abs(asked("clock()") - time.time()) < verify_notebook.answers.MOST_SECONDS_APART
    assert asked("names(['localhost', 'no-such-name.invalid'])")[0] == ""
    assert asked("names(['no-such-name.invalid'])")[0]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        places = [["127.0.0.1", listening.getsockname()[1]], ["127.0.0.1", 1]]
        assert asked(f"reached({places!r})") == [True, False]
    assert isinstance(asked("identity()")["uid"], int)


def test_without_gpus_and_pytorch_the_source_says_so() -> None:
    assert "error" in asked("driver()")
    cpu = trials(gpu=False)["PyTorch trains on the CPU"]
    with pytest.raises(Untried, match="torch"):
        cpu.found(json.dumps(asked("torch_gpus()")))

"""What verify tries in a notebook. The source is sent to its kernel; each function gives what it found, for JSON.

Only the standard library is imported at the top: images need not have PyTorch, and some have an older Python.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

_SECONDS, _TRIES, _BETWEEN_TRIES = 4, 3, 3
_MIB = 1024**2
# Children inherit nothing of the kernel but this.
_EAT = "import sys\nkept = []\nfor _ in range(int(sys.argv[1])): kept.append(b'x' * 1048576)\nprint(len(kept))"


def identity() -> dict[str, Any]:
    """The user of its processes, and what more than an ordinary user they may."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {
        "uid": os.getuid(),
        "capabilities": int(status["CapEff"], 16),
        "mayGainPrivileges": status["NoNewPrivs"].strip() != "1",
        "hasClusterToken": Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists(),
    }


def clock() -> float:
    """Its time, in seconds since 1970."""
    return time.time()


def folder(path: str) -> dict[str, Any]:
    """Whether a folder takes a file and gives it back; its size and what is free, in bytes."""
    name = Path(path) / (".gpulab-verify-" + uuid.uuid4().hex)
    content = os.urandom(_MIB)
    found: dict[str, Any] = {}
    try:
        size = os.statvfs(path)
        found.update(size=size.f_blocks * size.f_frsize, free=size.f_bavail * size.f_frsize)
        name.write_bytes(content)
        found["same"] = name.read_bytes() == content
        name.unlink()
    except OSError as error:
        found.update(error=errno.errorcode.get(error.errno or 0, ""), said=str(error))
        with contextlib.suppress(OSError):
            name.unlink()
    return found


def reached(places: list[list[Any]]) -> list[bool]:
    """Which hosts and ports take a connection each time.

    A network plugin may apply policies a moment after a pod has started (Kubernetes, "Network Policies", on the life of
    pods), so a place counts only if it still answers seconds later.
    """
    open_places = [tuple(place) for place in places]
    for number in range(_TRIES):
        if number and open_places:
            time.sleep(_BETWEEN_TRIES)
        open_places = [place for place in open_places if _answers(*place)]
    return [tuple(place) in open_places for place in places]


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError:
        return False
    return True


def api_server() -> list[Any]:
    """Where Kubernetes says that its API server is; empty where it does not."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    return [host, int(port)] if host and port else []


def names(hosts: list[str]) -> list[str]:
    """What the search for each name says where it fails; empty where it is found."""
    said = []
    for host in hosts:
        try:
            socket.getaddrinfo(host, None)
            said.append("")
        except OSError as error:
            said.append(str(error))
    return said


def memory_limit() -> int | None:
    """The limit of its cgroup in bytes, by version 2 or 1; None where there is none."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
            return None if text == "max" else int(text)
        except (OSError, ValueError):
            continue
    return None


def above_memory_limit(limit: int) -> dict[str, Any]:
    """What becomes of a process that wants a tenth more than the limit in bytes: it should not live."""
    command = [sys.executable, "-c", _EAT, str(int(limit * 1.1) // _MIB)]
    done = subprocess.run(command, check=False, capture_output=True, preexec_fn=_first_to_go)
    return {"lived": done.returncode == 0, "killed": done.returncode == -signal.SIGKILL}


def _first_to_go() -> None:
    """Makes the kernel choose this process, and not the notebook's server."""
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")


def driver() -> dict[str, Any]:
    """What `nvidia-smi` says: each GPU or slice of it, and the versions; or why it says nothing."""
    if not shutil.which("nvidia-smi"):
        return {"error": "the notebook has no nvidia-smi"}
    said: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    commands = (["nvidia-smi", "-L"], ["nvidia-smi"])
    listed, shown = (subprocess.run(command, check=False, **said) for command in commands)
    if listed.returncode or shown.returncode:
        return {"error": "nvidia-smi failed", "said": listed.stdout + shown.stdout}
    words = shown.stdout.split()
    versions = {}
    for name in ("Driver", "CUDA"):
        after = [words[at + 2] for at, word in enumerate(words[:-2]) if word == name and words[at + 1] == "Version:"]
        versions[name.lower()] = after[0] if after else ""
    return {"gpus": [line.strip() for line in listed.stdout.splitlines() if line.strip()], **versions}


def torch_gpus() -> dict[str, Any]:
    """What PyTorch says of its GPUs, or that the image has none of it."""
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return {"missing": str(error)}
    found = {"version": torch.__version__, "cuda": torch.version.cuda, "gpus": [], "said": ""}
    try:
        torch.cuda.init()
        found["gpus"] = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    except (RuntimeError, AssertionError) as error:
        found["said"] = str(error)
    return found


def tensorflow_gpus() -> dict[str, Any]:
    """The GPUs that TensorFlow lists."""
    try:
        tensorflow = importlib.import_module("tensorflow")
    except ImportError as error:
        return {"missing": str(error)}
    devices = tensorflow.config.list_physical_devices("GPU")
    return {"version": tensorflow.__version__, "gpus": [one.name for one in devices]}


def multiplication(size: int = 4096, rounds: int = 3) -> dict[str, float]:
    """The seconds of a multiplication of two square matrices on CPU and GPU: the best of some."""
    torch = importlib.import_module("torch")

    def seconds(device: str) -> float:
        left, right = (torch.rand(size, size, device=device) for _ in range(2))
        best = float("inf")
        for _ in range(rounds + 1):
            _wait(device)
            started = time.perf_counter()
            _ = left @ right
            _wait(device)
            best = min(best, time.perf_counter() - started)
        return best

    return {"cpu": seconds("cpu"), "gpu": seconds("cuda")}


def training(device: str, *, mixed: bool = False, steps: int = 100) -> dict[str, float]:
    """Trains a small network on made-up data: the seconds, and the loss at first and at last."""
    torch = importlib.import_module("torch")

    torch.manual_seed(0)
    inputs = torch.randn(1024, 64, device=device)
    wanted = inputs.pow(2).sum(dim=1, keepdim=True) / 64
    layers = [torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1)]
    model = torch.nn.Sequential(*layers).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    started = time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast(device_type=device, dtype=torch.bfloat16, enabled=mixed):
            loss = torch.nn.functional.mse_loss(model(inputs).float(), wanted)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    _wait(device)
    return {"seconds": time.perf_counter() - started, "first": losses[0], "last": losses[-1]}


def gpu_memory() -> dict[str, int]:
    """Bytes in use on the GPU before, with and after a tensor of a quarter of what is free; and all that there are."""
    torch = importlib.import_module("torch")

    def used() -> int:
        free, total = torch.cuda.mem_get_info()
        return total - free

    torch.zeros(1, device="cuda")
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    before, wanted = used(), free // 4
    tensor = torch.zeros(wanted // 4, dtype=torch.float32, device="cuda")
    held = used()
    del tensor
    gc.collect()
    torch.cuda.empty_cache()
    return {"total": total, "wanted": wanted, "before": before, "held": held, "after": used()}


def together(count: int) -> dict[str, Any]:
    """A sum over all GPUs by NCCL, a process for each: whether it is right, its seconds, or what failed."""
    script = (
        "import os, sys, time, torch, torch.distributed as group\n"
        "rank = int(sys.argv[1])\n"
        "torch.cuda.set_device(rank)\n"
        "group.init_process_group('nccl', rank=rank, world_size=int(sys.argv[2]))\n"
        "ones = torch.ones(1 << 24, device='cuda')\n"
        "group.all_reduce(ones)\n"
        "torch.cuda.synchronize()\n"
        "started = time.perf_counter()\n"
        "ones.fill_(1)\n"
        "group.all_reduce(ones)\n"
        "torch.cuda.synchronize()\n"
        "print(ones[0].item(), time.perf_counter() - started)\n"
        "group.destroy_process_group()\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = dict(os.environ, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    commands = [[sys.executable, "-c", script, str(rank), str(count)] for rank in range(count)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, env=environment, **pipes) for command in commands]
    ended = [one.communicate() for one in running]
    if any(one.returncode for one in running):
        return {"error": "NCCL failed", "said": "".join(error for _, error in ended)[-2000:]}
    value, seconds = ended[0][0].split()[-2:]
    return {"right": float(value) == count, "seconds": float(seconds)}


def _wait(device: str) -> None:
    if device == "cuda":
        importlib.import_module("torch").cuda.synchronize()

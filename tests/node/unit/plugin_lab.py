"""NVIDIA's device plugin and feature discovery on the stand-in of NVML, beside a kubelet that only writes down.

The plugin is NVIDIA's own program. It meets kubelet in a fixed folder, so it runs in a mount namespace of its own.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from rich.console import Console

from rehearsal.machine.cache import cache_folder
from rehearsal.machine.filling import is_whole
from rehearsal.node.gpu import library
from rehearsal.node.gpu.cards import Card, facts, mig_minors
from rehearsal.node.gpu.tools import DEVICE_PLUGIN
from rehearsal.progress import Display

_SECONDS = 20
_WATCHES = "Ignoring the following XIDs for health checks"
_NAMESPACE = """
set -e
mount -t tmpfs tmpfs /proc/driver
mkdir -p /proc/driver/nvidia-caps
cp "$1" /proc/driver/nvidia-caps/mig-minors
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/kubelet/device-plugins
mount --bind "$2" /var/lib/kubelet/device-plugins
shift 2
exec "$@"
"""


@dataclass(frozen=True)
class Programs:
    """The folders of NVIDIA's programs and of the stand-in of NVML."""

    programs: Path
    libraries: Path

    def env(self, facts_file: Path) -> dict[str, str]:
        """The environment in which they see the GPUs of `facts_file`."""
        return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(self.libraries), "NVML_FACTS": str(facts_file)}

    def labels(self, folder: Path, cards: Sequence[Card], config: str, mig: str = "none") -> dict[str, str]:
        """What GPU feature discovery finds."""
        (folder / "facts").write_text(facts(cards), encoding="utf-8")
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        command = [self.programs / "gpu-feature-discovery", "--oneshot", "--no-timestamp", f"--mig-strategy={mig}"]
        command += [f"--config-file={folder / 'config.yaml'}", f"--output-file={folder / 'labels'}"]
        done = subprocess.run(
            [*command, "--use-node-feature-api=false"],
            env=self.env(folder / "facts"),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = (folder / "labels").read_text(encoding="utf-8").splitlines()
        return {key: value for key, _, value in (line.partition("=") for line in lines)}


@pytest.fixture(scope="session")
def programs() -> Programs:
    """NVIDIA's programs, if a rehearsal with a node has built them."""
    if sys.platform != "linux" or not shutil.which("gcc"):
        pytest.skip("NVIDIA's programs need Linux, and the stand-in of NVML gcc")
    folder = cache_folder() / "toolchain" / DEVICE_PLUGIN.folder_name
    if not is_whole(DEVICE_PLUGIN, folder):
        pytest.skip("NVIDIA's device plugin is not built yet: `make node` builds it")
    return Programs(folder, library.build(Display(Console(stderr=True)), None))


class Kubelet:
    """What a running plugin told kubelet."""

    def __init__(self, folder: Path, facts_file: Path, log: Path) -> None:
        self._folder, self._facts_file, self._log = folder, facts_file, log
        self._registered: queue.Queue[dict[int, list[bytes]]] = queue.Queue()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        handlers = {"Register": grpc.unary_unary_rpc_method_handler(self._register)}
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("v1beta1.Registration", handlers)])
        self._server.add_insecure_port(f"unix:{folder / 'kubelet.sock'}")
        self._server.start()
        self._channels: dict[str, grpc.Channel] = {}

    def end(self) -> None:
        for channel in self._channels.values():
            channel.close()
        self._server.stop(None)

    def resource(self) -> str:
        """The name of the next resource that is registered."""
        registered = self._registered.get(timeout=_SECONDS)
        name = registered[3][0].decode()
        self._channels[name] = grpc.insecure_channel(f"unix:{self._folder / registered[2][0].decode()}")
        return name

    def watch(self, resource: str) -> Iterator[dict[str, str]]:
        """The health of each device, whenever it changes."""
        listing = self._channels[resource].unary_stream("/v1beta1.DevicePlugin/ListAndWatch")
        for answer in listing(b"", timeout=_SECONDS):
            devices = [_fields(one) for one in _fields(answer).get(1, [])]
            yield {one[1][0].decode(): one[2][0].decode() for one in devices}

    def allocate(self, resource: str, *devices: str) -> dict[str, str]:
        """The environment of a container that gets these devices. Raises RpcError."""
        asked = b"".join(_field(1, one.encode()) for one in devices)
        call = self._channels[resource].unary_unary("/v1beta1.DevicePlugin/Allocate")
        (container,) = _fields(call(_field(1, asked), timeout=_SECONDS))[1]
        pairs = [_fields(one) for one in _fields(container).get(1, [])]
        return {one[1][0].decode(): one[2][0].decode() for one in pairs}

    def report_error(self, xid: int) -> None:
        """Lets the first GPU report an error, once the plugin watches its health. Older errors are not reported."""
        for _ in range(_SECONDS * 10):
            if _WATCHES in self._log.read_text(encoding="utf-8"):
                break
            time.sleep(0.1)
        with self._facts_file.open("a", encoding="utf-8") as file:
            file.write(f"xid 0 {xid}\n")

    def _register(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        self._registered.put(_fields(request))
        return b""


@contextlib.contextmanager
def plugin(programs: Programs, cards: Sequence[Card], config: str, **env: str) -> Iterator[Kubelet]:
    """A device plugin with this configuration on a machine with these cards."""
    if os.geteuid() != 0:
        pytest.skip("the device plugin meets kubelet in /var/lib/kubelet, and only root can mount another folder there")
    # The path of a socket has room for a hundred characters.
    with tempfile.TemporaryDirectory(prefix="plugin-") as made:
        folder = Path(made)
        (folder / "facts").write_text(facts(cards), encoding="utf-8")
        (folder / "minors").write_text(mig_minors(cards), encoding="utf-8")
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        (folder / "sockets").mkdir()
        kubelet = Kubelet(folder / "sockets", folder / "facts", folder / "log")
        inside = ["/bin/sh", "-c", _NAMESPACE, "sh", folder / "minors", folder / "sockets"]
        program = [programs.programs / "nvidia-device-plugin", f"--config-file={folder / 'config.yaml'}"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "--propagation=private", *map(str, [*inside, *program])],
                env={**programs.env(folder / "facts"), "DEVICE_LIST_STRATEGY": "envvar", **env},
                stdout=log,
                stderr=log,
            )
        try:
            yield kubelet
        except queue.Empty:
            pytest.fail((folder / "log").read_text(encoding="utf-8"))
        finally:
            process.kill()
            process.wait()
            kubelet.end()


def _fields(message: bytes) -> dict[int, list[bytes]]:
    """The fields of a protobuf message that are texts or messages, by their numbers."""
    found: dict[int, list[bytes]] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        length, position = _varint(message, position)
        if tag & 7 == 2:
            found.setdefault(tag >> 3, []).append(message[position : position + length])
            position += length
    return found


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _field(number: int, content: bytes) -> bytes:
    length = len(content)
    size = b""
    while length >= 0x80:
        size += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content

"""The programs that a rehearsal runs: which Go package, which release and which version each comes from.

`tools/NAME/go.mod` holds the version: the pin of the build is the pin of the download and the lowest version that is
taken from PATH. Of Kubernetes there is one for each version that a stack may have, and a rehearsal takes its stack's.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from settings.kubernetes_versions import KUBERNETES_VERSIONS

TOOLS = Path(__file__).resolve().parent.parent / "tools"


class ToolMissing(RuntimeError):
    """A program can't be had; the message says which ways were tried and what to do."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """An official release. `url` and `checksums` may use {version}, {number} (without the v), {os}, {arch}, {cpu}.

    `checksums` is the text published with it, in the form of sha256sum, or the bare digest. `archive` says whether the
    release is a tar archive that holds every program, or one file for each {program}. `version_of` names the tool whose
    pin counts, where it isn't the tool itself.
    """

    url: str
    checksums: str
    archive: bool = True
    version_of: Tool | None = None


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A set of programs that are released together.

    `packages` maps each program to the Go package it is built from, `companions` a program to the package whose source
    folder holds it as a script. `version_flags` are linker flags, with {version} and so on as for `Download`, without
    which the program would not know its version. `version_command` prints it; a tool that has none comes with another
    and is taken from PATH as it is. `pinned_in` is the folder of the pin, where it is not called as the tool;
    `same_minor` says that no other minor version stands for it. `build_seconds` is what the build of each program took,
    in turn, on 2 cores with empty caches.
    """

    name: str
    module: str
    packages: Mapping[str, str]
    companions: Mapping[str, str] = field(default_factory=dict)
    version_flags: str = ""
    version_command: tuple[str, ...] = ("--version",)
    download: Download | None = None
    pinned_in: str = ""
    same_minor: bool = False
    build_seconds: Mapping[str, int]

    @property
    def pin(self) -> Path:
        """The folder of the Go module that pins the tool."""
        return TOOLS / (self.pinned_in or self.name)

    @property
    def programs(self) -> tuple[str, ...]:
        """The names of all programs of this tool."""
        return (*self.packages, *self.companions)

    @property
    def folder_name(self) -> str:
        """The tool, its version and the platform: what its folder in the cache is called."""
        return "-".join([self.name, self.version, *_platform()])

    @property
    def version(self) -> str:
        """The pinned version, such as v1.34.2, from the tool's go.mod."""
        text = (self.pin / "go.mod").read_text(encoding="utf-8")
        found = re.search(rf"^require {re.escape(self.module)} (v\S+)$", text, re.MULTILINE)
        if not found:
            raise ToolMissing(f"tools/{self.pin.name}/go.mod has no line `require {self.module} VERSION`")
        return found[1]


ENGINE = Tool(
    name="engine",
    module="github.com/pulumi/pulumi/pkg/v3",
    packages={"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"},
    version_flags="-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}",
    version_command=("version",),
    download=Download(
        url="https://get.pulumi.com/releases/sdk/pulumi-{version}-{os}-{cpu}.tar.gz",
        checksums="https://github.com/pulumi/pulumi/releases/download/{version}/pulumi-{number}-checksums.txt",
    ),
    build_seconds={"pulumi": 190},
)
# The last module versions that carry the Python host. A released engine brings a newer one, in the same archive.
LANGUAGE_HOST = Tool(
    name="language-python",
    module="github.com/pulumi/pulumi/sdk/v3",
    packages={"pulumi-language-python": "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"},
    companions={"pulumi-language-python-exec": "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"},
    version_flags="-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}",
    version_command=(),
    download=replace(ENGINE.download, version_of=ENGINE) if ENGINE.download else None,
    build_seconds={"pulumi-language-python": 15},
)
ETCD = Tool(
    name="etcd",
    module="go.etcd.io/etcd/server/v3",
    packages={"etcd": "go.etcd.io/etcd/server/v3"},
    download=Download(
        url="https://github.com/etcd-io/etcd/releases/download/{version}/etcd-{version}-{os}-{arch}.tar.gz",
        checksums="https://github.com/etcd-io/etcd/releases/download/{version}/SHA256SUMS",
    ),
    build_seconds={"etcd": 16},
)
_KUBERNETES = Tool(
    name="kubernetes",
    same_minor=True,
    module="k8s.io/kubernetes",
    packages={
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    },
    # Without them the servers call themselves v0.0.0, and clients refuse to talk to them.
    version_flags=" ".join(
        f"-X k8s.io/component-base/version.{name}={value}"
        for name, value in (("gitVersion", "{version}"), ("gitMajor", "{major}"), ("gitMinor", "{minor}"))
    ),
    download=Download(
        url="https://dl.k8s.io/release/{version}/bin/{os}/{arch}/{program}",
        checksums="https://dl.k8s.io/release/{version}/bin/{os}/{arch}/{program}.sha256",
        archive=False,
    ),
    build_seconds={"kube-apiserver": 196, "kube-controller-manager": 32, "kube-scheduler": 3},
)
# Its releases come without checksums, so it is built, from modules whose checksums are in go.sum.
KWOK = Tool(
    name="kwok",
    module="sigs.k8s.io/kwok",
    packages={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
    build_seconds={"kwok": 65},
)
HELM = Tool(
    name="helm",
    module="helm.sh/helm/v3",
    packages={"helm": "helm.sh/helm/v3/cmd/helm"},
    version_flags="-X helm.sh/helm/v3/internal/version.version={version}",
    version_command=("version", "--short"),
    download=Download(
        url="https://get.helm.sh/helm-{version}-{os}-{arch}.tar.gz",
        checksums="https://get.helm.sh/helm-{version}-{os}-{arch}.tar.gz.sha256sum",
    ),
    build_seconds={"helm": 53},
)
# The controllers of every Karpenter, with KWOK's cloud in the place of AWS's. It is published as a module alone, and a
# `karpenter` on PATH is of another cloud: as none answers to --version, none is taken.
KARPENTER = Tool(
    name="karpenter",
    module="sigs.k8s.io/karpenter",
    packages={"karpenter": "sigs.k8s.io/karpenter/kwok"},
    build_seconds={"karpenter": 109},
)

# What `make lint` reads the workflows with: no rehearsal needs it.
ACTIONLINT = Tool(
    name="actionlint",
    module="github.com/rhysd/actionlint",
    packages={"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"},
    version_flags="-X github.com/rhysd/actionlint.version={number}",
    version_command=("-version",),
    download=Download(
        url="https://github.com/rhysd/actionlint/releases/download/{version}/actionlint_{number}_{os}_{arch}.tar.gz",
        checksums="https://github.com/rhysd/actionlint/releases/download/{version}/actionlint_{number}_checksums.txt",
    ),
    build_seconds={"actionlint": 6},
)


# In the order in which a rehearsal needs them: a first preview needs the engine and its language host only.
def rehearsal_tools(kubernetes: str) -> tuple[Tool, ...]:
    """What a rehearsal of a stack with that version of Kubernetes (`1.36`) needs."""
    control_plane = replace(_KUBERNETES, pinned_in=f"kubernetes-{kubernetes}")
    return (ENGINE, LANGUAGE_HOST, ETCD, control_plane, KWOK, HELM, KARPENTER)


ALL_TOOLS = rehearsal_tools(KUBERNETES_VERSIONS[-1])


def placeholders(tool: Tool) -> dict[str, str]:
    """What a URL or a linker flag may name. {cpu} is Pulumi's word for {arch}."""
    number = tool.version.removeprefix("v")
    major, minor, _ = number.split(".", 2)
    system, machine = _platform()
    return {
        "version": tool.version,
        "number": number,
        "major": major,
        "minor": minor,
        "os": system,
        "arch": machine,
        "cpu": {"amd64": "x64"}.get(machine, machine),
    }


def _platform() -> tuple[str, str]:
    """The operating system and the processor in the words of Go."""
    machine = platform.machine().lower()
    return platform.system().lower(), {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)

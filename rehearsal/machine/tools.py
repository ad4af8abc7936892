"""The programs that a rehearsal runs: the Go package, the release and the version of each.

`tools/NAME/go.mod` has the version: it is built, downloaded, or the lowest version that is accepted on PATH. Kubernetes
has one for each version that a stack may have, and a rehearsal uses that of its stack.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from settings.kubernetes_versions import KUBERNETES_VERSIONS

TOOLS = Path(__file__).resolve().parent.parent.parent / "tools"


class ToolMissing(RuntimeError):
    """A program is not available. The message says what was tried and what to do."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """An official release. `url` and `checksums` may use {version}, {number} (without the v), {os}, {arch}, {cpu}.

    `checksums` is the published text, in the form of sha256sum or only the digest. `archive` says whether the release
    is a tar archive with every program, or one file for each {program}. `version_of` names the tool whose pin counts,
    if it is another one.
    """

    url: str
    checksums: str
    archive: bool = True
    version_of: Tool | None = None


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A set of programs that are released together.

    `packages` maps each program to its Go package, `companions` a program to the package whose source folder has it as
    a script. `version_flags` are linker flags that set the program's version, with {version} and so on as in
    `Download`. `version_command` prints the version; a tool without it belongs to another one, and any version on PATH
    is accepted. `pinned_in` is the folder of the pin, if its name is not the tool's. With `same_minor` another minor
    version is not accepted. With `cgo` a part is in C, and the build needs gcc. `on_path` is false for what runs in
    another root filesystem, where the host's programs are not. `build_seconds` is the time that the build of each
    program took, one after the other, on 2 cores with empty caches.
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
    cgo: bool = False
    on_path: bool = True
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
    build_seconds={"pulumi": 195},
)
# The newest host that can be built: from v3.80.0 on it is a module of its own, which the Go module proxy does not have.
# A released engine brings the host of its own version, in the same archive.
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
    build_seconds={"etcd": 24},
)
KUBERNETES = Tool(
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
    build_seconds={"kwok": 75},
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
    build_seconds={"helm": 80},
)
# It is published as a container image and a Go module; a `karpenter` on PATH supports no --version, so none is used.
KARPENTER = Tool(
    name="karpenter-aws",
    module="github.com/aws/karpenter-provider-aws",
    packages={"karpenter": "github.com/aws/karpenter-provider-aws/cmd/controller"},
    version_flags="-X sigs.k8s.io/karpenter/pkg/operator.Version={number}",
    build_seconds={"karpenter": 340},
)

# `make lint` checks the workflows with it; no rehearsal needs it.
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
def control_plane_tools(kubernetes: str) -> tuple[Tool, ...]:
    """The tools for a stack on a cluster that exists, with this version of Kubernetes (`1.36`)."""
    control_plane = replace(KUBERNETES, pinned_in=f"kubernetes-{kubernetes}")
    return (ENGINE, LANGUAGE_HOST, ETCD, control_plane, KWOK, HELM)


def rehearsal_tools(kubernetes: str) -> tuple[Tool, ...]:
    """The tools for a rehearsal of a stack on EKS with this version of Kubernetes (`1.36`)."""
    return (*control_plane_tools(kubernetes), KARPENTER)


ALL_TOOLS = rehearsal_tools(KUBERNETES_VERSIONS[-1])


def placeholders(tool: Tool) -> dict[str, str]:
    """The placeholders of URLs and linker flags. {cpu} is Pulumi's name for {arch}."""
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
    """The operating system and the processor, by Go's names."""
    machine = platform.machine().lower()
    return platform.system().lower(), {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)

"""The Go programs that images consist of. Their versions are those of the images that the platform runs."""

from __future__ import annotations

from rehearsal.machine.tools import Tool

COREDNS = Tool(
    name="coredns",
    module="github.com/coredns/coredns",
    packages={"coredns": "github.com/coredns/coredns"},
    version_flags="-X github.com/coredns/coredns/coremain.GitCommit=gpulab",
    version_command=("-version",),
    build_seconds={"coredns": 110},
)
LOCAL_PATH = Tool(
    name="local-path-provisioner",
    module="github.com/rancher/local-path-provisioner",
    packages={"local-path-provisioner": "github.com/rancher/local-path-provisioner"},
    version_flags="-X main.VERSION={version}",
    build_seconds={"local-path-provisioner": 60},
)
CLOUDNATIVE_PG = Tool(
    name="cloudnative-pg",
    module="github.com/cloudnative-pg/cloudnative-pg",
    packages={"manager": "github.com/cloudnative-pg/cloudnative-pg/cmd/manager"},
    # Other programs are called `manager` too, so none on PATH is used.
    version_command=("--version",),
    build_seconds={"manager": 60},
)
TRAEFIK = Tool(
    name="traefik",
    module="github.com/traefik/traefik/v3",
    packages={"traefik": "github.com/traefik/traefik/v3/cmd/traefik"},
    version_flags="-X github.com/traefik/traefik/v3/pkg/version.Version={version}",
    version_command=("version",),
    build_seconds={"traefik": 300},
)

IMAGE_TOOLS = (COREDNS, LOCAL_PATH, CLOUDNATIVE_PG, TRAEFIK)

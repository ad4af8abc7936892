"""What each image consists of: packages of Debian, PyPI, npm and Maven, Go programs, and small files of ours.

An image without a registry is made under the name that charts and stack files use, whatever its tag says: the
versions are those that can be had, and `made_of` says what differs from the real image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rehearsal.machine.java_tools import KEYCLOAK
from rehearsal.machine.tools import Tool
from rehearsal.node.gpu.tools import DEVICE_PLUGIN, NODE_FEATURES

from .downloads import Download, KeycloakServer, Modules, Wheels
from .programs import CLOUDNATIVE_PG, COREDNS, LOCAL_PATH, TRAEFIK

SUITE = "trixie"
"""Debian 13: Python 3.13, Java 21, Node.js 20 and PostgreSQL 17 follow from it."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an image is made; all but the configuration becomes one layer on those of `base`.

    `debian` are packages of a first layer, made by mmdebstrap; `apt` are packages installed above `base`. `files`
    (of the folder files/), `programs` and `compiled` (a source in C) have the path in the image as their key. `run`
    are shell commands in the image, which find `downloads` in /downloads. `seconds` is how long it takes on 2 cores.
    """

    name: str
    made_of: str
    seconds: int
    base: Recipe | None = None
    debian: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, tuple[Tool, str]] = field(default_factory=dict)
    compiled: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    user: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


DEBIAN = Recipe(
    name="debian",
    made_of="Debian 13 with its own shell and core utilities",
    debian=("ca-certificates", "tini"),
    seconds=40,
)
_PYTHON = Recipe(
    name="python",
    made_of="Debian 13 and its Python 3.13",
    base=DEBIAN,
    apt=("python3", "python3-venv", "curl", "procps"),
    seconds=20,
)
_JAVA = Recipe(
    name="java", made_of="Debian 13 and its Java 21", base=DEBIAN, apt=("openjdk-21-jre-headless",), seconds=15
)
_PAUSE = Recipe(
    name="pause",
    made_of="twenty lines of C of ours",
    compiled={"/pause": "pause/pause.c"},
    user="65535:65535",
    entrypoint=("/pause",),
    seconds=2,
)
_HUB = Recipe(
    name="hub",
    made_of="JupyterHub and what its image has from PyPI, on Debian's Python 3.13 (the real image has 3.14)",
    base=_PYTHON,
    apt=("libcurl4t64", "sqlite3"),
    downloads=(Wheels("hub/requirements.txt"),),
    run="""
        useradd --create-home --uid 1000 --user-group jovyan
        # As in images of Python itself, /usr/local has the packages, and `python3` there finds them.
        python3 -m venv /usr/local
        /usr/local/bin/pip install --quiet --no-index --no-deps --find-links=/downloads/wheels \\
            --requirement=/downloads/wheels/requirements.txt
        install --directory --owner=jovyan --group=jovyan /srv/jupyterhub
    """,
    user="1000",
    folder="/srv/jupyterhub",
    entrypoint=("tini", "--"),
    command=("jupyterhub", "--config", "/usr/local/etc/jupyterhub/jupyterhub_config.py"),
    seconds=60,
)
_PROXY = Recipe(
    name="proxy",
    made_of="configurable-http-proxy of npm, on Debian's Node.js 20 (the real image has 24)",
    base=DEBIAN,
    apt=("nodejs",),
    downloads=(Modules("proxy"),),
    files={"/srv/configurable-http-proxy/chp-docker-entrypoint": "proxy/chp-docker-entrypoint"},
    run="cp --recursive /downloads/modules/node_modules /srv/configurable-http-proxy/",
    user="65534",
    env={"PATH": "/srv/configurable-http-proxy/node_modules/.bin:/usr/local/bin:/usr/bin:/bin"},
    folder="/srv/configurable-http-proxy",
    entrypoint=("/srv/configurable-http-proxy/chp-docker-entrypoint",),
    seconds=30,
)
_KEYCLOAK = Recipe(
    name="keycloak",
    made_of=f"Keycloak {KEYCLOAK} of Maven, on Debian's Java 21, already built for PostgreSQL",
    base=_JAVA,
    downloads=(KeycloakServer(),),
    # The platform starts it with these options, so it need not build itself again at each start.
    run="""
        cp --recursive /downloads/keycloak /opt/keycloak
        /opt/keycloak/bin/kc.sh build --db=postgres --health-enabled=true --metrics-enabled=true --http-relative-path=/
        useradd --uid 1000 --gid 0 --no-create-home --home-dir /opt/keycloak keycloak
        chown --recursive 1000:0 /opt/keycloak
        chmod --recursive g+rwX /opt/keycloak
    """,
    user="1000",
    env={"LANG": "C.UTF-8"},
    folder="/",
    entrypoint=("/opt/keycloak/bin/kc.sh",),
    seconds=40,
)
_CONFIG_CLI = Recipe(
    name="keycloak-config-cli",
    made_of="a program of ours that applies the same files through the admin API: no registry of packages has the jar",
    base=_PYTHON,
    files={
        "/app/keycloak_config_cli.py": "config_cli/keycloak_config_cli.py",
        "/app/realm_importer.py": "config_cli/realm_importer.py",
    },
    user="65534",
    folder="/app",
    entrypoint=("/app/keycloak_config_cli.py",),
    seconds=10,
)
_POSTGRESQL = Recipe(
    name="postgresql",
    made_of="Debian's PostgreSQL 17, without barman",
    base=DEBIAN,
    apt=("postgresql-common", "libsasl2-modules"),
    # CloudNativePG makes the cluster itself, as the user 26.
    run="""
        sed -ri 's/#?(create_main_cluster) .*$/\\1 = false/' /etc/postgresql-common/createcluster.conf
        apt-get install --yes -qq postgresql-17
        # Half of the image: it compiles queries that take seconds, and there are none here.
        rm /usr/lib/*/libLLVM* /usr/lib/postgresql/17/lib/llvmjit.so
        usermod --uid 26 postgres
        chown --recursive postgres:postgres /var/lib/postgresql /var/run/postgresql /var/log/postgresql
    """,
    user="26",
    env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/17/bin"},
    seconds=30,
)
_OPERATOR = Recipe(
    name="cloudnative-pg",
    made_of="CloudNativePG's program, built from its Go module",
    programs={"/operator/manager_{arch}": (CLOUDNATIVE_PG, "manager"), "/manager": (CLOUDNATIVE_PG, "manager")},
    user="65532:65532",
    folder="/",
    entrypoint=("/manager",),
    seconds=5,
)
_LIGHT_NOTEBOOK = Recipe(
    name="light-notebook",
    made_of="jupyterhub-singleuser and jupyter-server of PyPI on Debian's Python 3.13: no JupyterLab, no kernel",
    base=_PYTHON,
    downloads=(Wheels("notebook/requirements-light.txt"),),
    files={
        f"/usr/local/bin/{name}": f"notebook/{name}"
        for name in ("start.sh", "start-notebook.py", "start-singleuser.py", "fix-permissions")
    }
    | {"/etc/jupyter/jupyter_server_config.py": "notebook/jupyter_server_config.py"},
    # With the system's packages visible, pip installs into homes as in Jupyter's images. The folder has conda's name,
    # because so has the path of the images.
    run="""
        useradd --create-home --shell=/bin/bash --uid=1000 --no-user-group --gid=100 jovyan
        python3 -m venv --system-site-packages /opt/conda
        /opt/conda/bin/pip install --quiet --no-index --no-deps --find-links=/downloads/wheels \\
            --requirement=/downloads/wheels/requirements-light.txt
        mkdir -p /usr/local/bin/start-notebook.d /usr/local/bin/before-notebook.d /home/jovyan/work
        NB_GID=100 fix-permissions /opt/conda /etc/jupyter /home/jovyan
        chown --recursive jovyan:users /opt/conda /home/jovyan
    """,
    user="1000",
    env={
        "CONDA_DIR": "/opt/conda",
        "SHELL": "/bin/bash",
        "NB_USER": "jovyan",
        "NB_UID": "1000",
        "NB_GID": "100",
        "LC_ALL": "C.UTF-8",
        "LANG": "C.UTF-8",
        "PATH": "/opt/conda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/home/jovyan",
        "JUPYTER_PORT": "8888",
    },
    folder="/home/jovyan",
    entrypoint=("tini", "-g", "--", "start.sh"),
    command=("start-notebook.py",),
    seconds=60,
)
_NOTEBOOK = Recipe(
    name="notebook",
    made_of="JupyterLab of PyPI on Debian's Python 3.13: no conda, no scientific packages, no PyTorch",
    base=_LIGHT_NOTEBOOK,
    apt=("git", "less"),
    downloads=(Wheels("notebook/requirements.txt"),),
    run="""
        /opt/conda/bin/pip install --quiet --no-index --no-deps --find-links=/downloads/wheels \\
            --requirement=/downloads/wheels/requirements.txt
        NB_GID=100 fix-permissions /opt/conda
    """,
    seconds=45,
)
_COREDNS = Recipe(
    name="coredns",
    made_of="CoreDNS, built from its Go module",
    programs={"/coredns": (COREDNS, "coredns")},
    entrypoint=("/coredns",),
    seconds=5,
)
_LOCAL_PATH = Recipe(
    name="local-path-provisioner",
    made_of="Rancher's program, built from its Go module",
    programs={"/usr/bin/local-path-provisioner": (LOCAL_PATH, "local-path-provisioner")},
    command=("/usr/bin/local-path-provisioner",),
    seconds=5,
)
_TRAEFIK = Recipe(
    name="traefik",
    made_of="Traefik, built from its Go module, without its dashboard",
    programs={"/usr/local/bin/traefik": (TRAEFIK, "traefik")},
    entrypoint=("/usr/local/bin/traefik",),
    seconds=5,
)
_DEVICE_PLUGIN = Recipe(
    name="nvidia-device-plugin",
    made_of="NVIDIA's programs, built from their Go module, on Debian 13",
    base=DEBIAN,
    programs={f"/usr/bin/{name}": (DEVICE_PLUGIN, name) for name in DEVICE_PLUGIN.packages},
    env={
        "NVIDIA_DISABLE_REQUIRE": "true",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    },
    entrypoint=("nvidia-device-plugin",),
    seconds=10,
)
_NODE_FEATURES = Recipe(
    name="node-feature-discovery",
    made_of="its programs, built from their Go module",
    programs={f"/usr/bin/{name}": (NODE_FEATURES, name) for name in NODE_FEATURES.packages},
    user="65534:65534",
    env={"GRPC_GO_LOG_SEVERITY_LEVEL": "INFO", "PATH": "/usr/bin"},
    seconds=10,
)

_RECIPES: Mapping[str, Recipe] = {
    "pause": _PAUSE,
    "busybox": DEBIAN,
    "jupyterhub/k8s-hub": _HUB,
    "jupyterhub/configurable-http-proxy": _PROXY,
    "keycloak/keycloak": _KEYCLOAK,
    "adorsys/keycloak-config-cli": _CONFIG_CLI,
    "cloudnative-pg/postgresql": _POSTGRESQL,
    "cloudnative-pg/cloudnative-pg": _OPERATOR,
    "jupyter/scipy-notebook": _NOTEBOOK,
    "jupyter/pytorch-notebook": _NOTEBOOK,
    "light-notebook": _LIGHT_NOTEBOOK,
    "coredns/coredns": _COREDNS,
    "rancher/local-path-provisioner": _LOCAL_PATH,
    "traefik": _TRAEFIK,
    "nvidia/k8s-device-plugin": _DEVICE_PLUGIN,
    "nfd/node-feature-discovery": _NODE_FEATURES,
}
"""The recipe of an image, by the end of its name without the tag; so a mirror's name has it too."""


def recipe(reference: str) -> Recipe | None:
    """The recipe for an image, such as `quay.io/jupyter/scipy-notebook:2026-08-03`; None if there is none."""
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    path = head if colon and "/" not in tag else name
    return next((found for end, found in _RECIPES.items() if f"/{path}".endswith(f"/{end}")), None)

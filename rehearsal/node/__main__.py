"""What serves a rig from its network: `python -m rehearsal.node ADDRESS [FOLDER]`, with `KUBECONFIG`.

It attaches volumes, and answers as a registry of images. With FOLDER it is what a site has: it gives published services
their addresses, as k3s' servicelb does, and makes volumes of the site's own classes there. Without it, it runs the
databases of the AWS at `AWS_ENDPOINT_URL`.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from rehearsal.controllers.passes import run
from rehearsal.controllers.world import Cluster, Kubernetes
from rehearsal.site.front import Front
from rehearsal.site.provisioners import Provisioners

from . import registry
from .csi.attachments import Attachments
from .databases import Databases


def main() -> None:
    """Goes on until the process is ended."""
    threading.Thread(target=registry.serve, args=(sys.argv[1],), daemon=True).start()
    kubernetes = Kubernetes(Path(os.environ["KUBECONFIG"]))
    folders = [Path(folder) for folder in sys.argv[2:]]
    of_site = [one for folder in folders for one in (Front(), Provisioners(folder))]
    of_cloud = [] if folders else [Databases(os.environ["AWS_ENDPOINT_URL"])]
    run(Cluster(kubernetes=kubernetes), [*of_site, *of_cloud, Attachments()])


if __name__ == "__main__":
    main()

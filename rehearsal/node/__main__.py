"""What serves a rig from its network: `python -m rehearsal.node ADDRESS FOLDER`, with `KUBECONFIG`.

It gives published services their addresses, as k3s' servicelb does, makes volumes of the site's own classes in FOLDER,
attaches them, and answers as a registry of images.
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


def main() -> None:
    """Goes on until the process is ended."""
    threading.Thread(target=registry.serve, args=(sys.argv[1],), daemon=True).start()
    kubernetes = Kubernetes(Path(os.environ["KUBECONFIG"]))
    run(Cluster(kubernetes=kubernetes), [Front(), Provisioners(Path(sys.argv[2])), Attachments()])


if __name__ == "__main__":
    main()

"""What Jupyter's images set for every server."""

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - Jupyter gives it
c.ServerApp.ip = ""
c.ServerApp.open_browser = False
c.FileContentsManager.delete_to_trash = False

"""The steps of the workflows in .github/workflows: each `run:` calls one of these modules, and tests call them too."""

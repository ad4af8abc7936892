"""A package, so that its fixtures of scope `package` end with the last test of this folder."""

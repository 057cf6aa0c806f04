"""The modules are the names of the commands."""

"""The commands: one file each, or one for two that share a screen."""

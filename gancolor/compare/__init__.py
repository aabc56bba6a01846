"""The `gancolor compare` command, which compares results of many runs and tools."""

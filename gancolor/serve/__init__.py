"""The `gancolor serve` command: an HTTP service that colours photographs."""

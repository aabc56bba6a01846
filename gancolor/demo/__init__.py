"""The `gancolor demo` command: a local web page that colours photographs."""

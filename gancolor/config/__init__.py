"""Options: their types and defaults, how command lines are parsed, and which of them identify a run."""

"""Where photographs come from: folders, shards, public data sets, and scenes drawn by code."""

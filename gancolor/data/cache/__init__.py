"""Photographs decoded once: an index, and pictures that are memory-mapped."""

"""Metrics of pictures and of sets of pictures, and intervals of their means."""

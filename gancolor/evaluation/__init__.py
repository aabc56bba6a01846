"""Scoring of generators, and of other tools' pictures, on held-out photographs."""

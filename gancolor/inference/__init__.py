"""Colouring of photographs in Python: `colorizer` holds the public class."""

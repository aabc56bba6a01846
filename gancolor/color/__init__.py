"""Colour arithmetic: CIELAB, its bins, colourfulness."""

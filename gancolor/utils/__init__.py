"""Errors, files, devices and processes: what every other package builds on."""

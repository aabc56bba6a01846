"""Photographs for training and evaluation."""

"""Training of a generator against a discriminator: `trainer` is the loop."""

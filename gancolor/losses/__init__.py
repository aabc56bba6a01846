"""Loss terms, and the objectives that they make up."""

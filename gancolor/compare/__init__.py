"""`gancolor compare`: results of many runs and tools beside each other."""

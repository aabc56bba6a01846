"""`gancolor colorize`: photographs and videos in, the same in colour out."""

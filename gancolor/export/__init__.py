"""Export of generators to other file formats, with a model card, and to the Hugging Face Hub."""

"""A generator in other formats than the trainer's own, with a model card, and on the Hugging Face Hub."""

"""Exported models and prepared stores on the Hugging Face Hub."""

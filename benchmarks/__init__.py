"""Proofs of what the project claims about speed and accuracy."""

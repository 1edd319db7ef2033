"""Nested cross-validation of generative models."""

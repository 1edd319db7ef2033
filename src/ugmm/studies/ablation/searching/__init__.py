"""Searches: what is chosen from, and what is tried next."""

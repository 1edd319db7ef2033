"""Typed configuration, and running one experiment."""

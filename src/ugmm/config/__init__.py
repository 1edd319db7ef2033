"""Typed settings: composed from YAML and the command line, and checked."""

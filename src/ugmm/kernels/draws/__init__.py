"""Draws of an autoregressive network, feature by feature."""

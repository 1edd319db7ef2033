"""Convolutional networks, of mixture neurons and ordinary ones."""

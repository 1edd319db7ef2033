"""A trained network's answers about tables that may be larger than memory."""

"""Tables and pictures of many runs."""

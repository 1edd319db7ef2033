"""Which process of a run this is, and what a cluster does to it."""

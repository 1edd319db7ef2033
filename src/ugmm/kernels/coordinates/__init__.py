"""Scores where one input has other values: a layer's log-scores of all candidates of a row."""

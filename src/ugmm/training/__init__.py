"""One run: build, fit, test, draw, write down.

`run.start` trains a configuration in a new folder, `run.resume` goes on with one, `fit.train`
trains on rows in memory without a folder.
"""

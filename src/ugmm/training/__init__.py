"""One run: build, fit, test, draw, write down."""

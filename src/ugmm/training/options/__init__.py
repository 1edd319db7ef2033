"""What a run may ask of training beyond its steps, by keys of `trainer`."""

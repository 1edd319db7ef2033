"""Files of data sets: fetched once into a cache, and verified."""

"""Networks of attention, with parts of mixture neurons and ordinary ones."""

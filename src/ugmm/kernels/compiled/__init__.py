"""What the compiled CPU loops of the operations share; Numba compiles them."""

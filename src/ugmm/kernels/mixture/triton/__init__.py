"""The Triton kernels of the score, for CUDA devices."""

"""The cumulative score, of every prefix of the inputs: on a CPU and on a CUDA device."""

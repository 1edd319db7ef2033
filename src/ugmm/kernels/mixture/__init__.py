"""The score of a layer of mixtures, computed in one piece: on a CPU and on a CUDA device."""

"""What has become of runs and jobs, from run folders and what Slurm says; and ending them."""

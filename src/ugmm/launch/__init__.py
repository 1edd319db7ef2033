"""Jobs: what is started elsewhere, or later, and what has become of it. Imports no torch.

`arguments` has the commands, `launch` makes run folders and hands their scripts to Slurm or
torchrun. Schedulers do the scheduling: nothing here watches over a job.
"""

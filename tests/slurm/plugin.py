"""What the jobs of these tests load: no pictures, and a second rank that may be slow."""

import os
import time

import ugmm.report

# Pictures take four fifths of a short run's time.
ugmm.report.draw_run = lambda *_, **__: []

if os.environ.get("SLURM_PROCID") == "1" and (seconds := float(os.environ.get("SLOW", 0))):
    from ugmm.tasks import Task

    step = Task.training_step

    def slow_step(self, batch, batch_idx):
        time.sleep(seconds)
        return step(self, batch, batch_idx)

    Task.training_step = slow_step

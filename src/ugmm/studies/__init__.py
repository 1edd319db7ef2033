"""Many runs: ablations (`ugmm.studies.ablation`) and cross-validations (`ugmm.studies.crossval`).

Beside them stands what is not of one kind of study: claims on points, grids of settings,
processes that end with their parent, and obstacles that stop them all.
"""

"""Many runs: ablations (`ugmm.studies.ablation`) and cross-validations (`ugmm.studies.crossval`).

Beside them stands what is not of one kind of study: claims on points, grids of settings, and
processes that end with their parent.
"""

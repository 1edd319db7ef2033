"""Many runs: ablations (`ugmm.studies.ablation`) and cross-validations (`ugmm.studies.crossval`).

What the two share stands beside them: claims on what is to be done, grids of settings, and
processes that end with their parent.
"""

"""Many runs: ablations and cross-validations."""

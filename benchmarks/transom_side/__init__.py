"""transom's side of each scenario: ordinary user code on the public API, nothing else."""

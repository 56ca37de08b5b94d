"""What a correct execution is: invariants over trace records, and nothing else."""

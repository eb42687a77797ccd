"""One job by several processes that `torchrun` (or Slurm, or Kubernetes) started: the same result as by one."""

"""Algorithm 1 for any algorithm: batches, updates, snapshots, checkpoints, exact resumption."""

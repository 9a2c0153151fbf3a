"""Clusters of rented machines: Amazon's EC2 through dask-cloudprovider, bounded in time and money.

`session` is what `pipeline.cluster.connect` uses. `configuration` and `account` check everything that can be checked
before anything costs; `machines` and `machine_cluster` are dask-cloudprovider's classes with their traps closed;
`upkeep` replaces what fails; `sweep` finds and ends what is left over, by our own tags; `cost` and `prices` say what it
comes to.

A cluster ends four times over, each without the others: its client takes it down; its scheduler stops when idle; its
workers stop when they find no scheduler; and every machine switches itself off, and is thereby terminated, at a time
that was fixed when it was started.
"""

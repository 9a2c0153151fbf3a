"""The kinds of clusters behind `pipeline.cluster.connect`: this machine, a running scheduler, and what they share."""

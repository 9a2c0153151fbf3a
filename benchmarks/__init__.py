"""Measurements of VoxelForest beside its peers; docs/performance.md is written from what they find."""

"""What has no weights: file formats, affinity graph, calibration, merging, selection, metrics."""

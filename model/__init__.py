"""What has weights: face backbones, their weight readers, the graph networks."""

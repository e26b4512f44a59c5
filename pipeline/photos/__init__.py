"""Photos: found in folders, searched for faces, and the faces aligned."""

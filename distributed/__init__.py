"""The stages on several machines, on Ray; all that imports Ray is in this folder."""

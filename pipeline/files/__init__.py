"""A module for each file format, reader beside writer; and how files are written and locked."""

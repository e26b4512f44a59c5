"""Every file format, a module each, reader beside writer; and how files are written and locked."""

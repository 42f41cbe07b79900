"""The command line: one file a command group; `output` is the only place that prints."""

"""Jobs forked from a process that has imported the slow packages."""

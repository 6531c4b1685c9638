"""Where a client goes again: strategies turn facts into keys, groups share one table."""

"""What searchers that use a library share."""

"""From what a user wrote to a running driver."""

"""The launch: the steps from a user's definition to a running driver."""

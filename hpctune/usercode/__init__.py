"""The user's code in a trial: the script as ``__main__`` and the modules beside it, as submitted."""

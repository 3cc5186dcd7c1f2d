"""The user's code as a trial finds it: the script as ``__main__``, the modules beside it, all as it was submitted."""

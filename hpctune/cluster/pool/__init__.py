"""Jobs that stay and take trial after trial, on top of any cluster."""

"""Experiments of SEML: their YAML files as searches."""
